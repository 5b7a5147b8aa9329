import { server } from "./opencode1.js"
import { setup } from "./opencode2.js"
import { news } from "./tunnel.js"

export default { id: "kiro-auth", setup, server }
export { news }
