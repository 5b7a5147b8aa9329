// kiro-auth OpenCode plugin 0.1.0
//
// OpenCode 2.x looks for tui.js beside a plugin, so here is one. The one that does the work is plugin/kiro.js.
export default { id: "kiro-auth-window", setup() {} }
