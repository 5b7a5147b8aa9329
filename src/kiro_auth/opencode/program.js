
// ------------------------------------------------------------------------------- where the program is

const SERVE = ["serve", "--quiet", "--idle-minutes", "30"]
/** What starts `kiro-auth`, best first; the last two fetch it when it is not installed. */
const PROGRAMS = [
  ["kiro-auth"],
  ["uvx", "--from", "opencode-kiro-auth", "kiro-auth"],
  ["pipx", "run", "--spec", "opencode-kiro-auth", "kiro-auth"],
]

/** The command that starts the gateway, from what is on the PATH. @returns {string[]} */
function programOnPath() {
  const endings = windows ? [".exe", ".cmd", ""] : [""]
  const folders = (env.PATH ?? "").split(path.delimiter).filter(Boolean)
  for (const [program, ...words] of PROGRAMS) {
    for (const folder of folders) {
      const found = endings.map((ending) => path.join(folder, program + ending)).find((file) => fs.existsSync(file))
      if (found) return [found, ...words, ...SERVE]
    }
  }
  throw new Error("The program kiro-auth is not installed: pipx install opencode-kiro-auth")
}
