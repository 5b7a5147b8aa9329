/** The command that starts the gateway, as the installer wrote it; without one the program is looked for. @type {string[] | null} */
export const START = null
export const VERSION = "@VERSION@"
/** The environment variables that a gateway may see: names, or beginnings of names before a `*`. */
export const VARIABLES = ["@VARIABLES@"]
/** Those of them that name one file or folder. */
export const PATHS = ["@PATHS@"]
/** The models until the gateway has written down those of the user's plan. @type {Models} */
export const USUAL_MODELS = { opencode1: {}, opencode2: [] }

/** @typedef {{ opencode1: Record<string, any>, opencode2: any[], default?: string }} Models
 *   the list in the words of either generation, and the model that Kiro names as the one to begin with */

export const ID = "kiro"
/** Stands in for the gateway's address in OpenCode's settings; never resolved. */
export const PLACEHOLDER = "http://kiro.invalid"
/** Stands in for a key wherever OpenCode wants one. */
export const NO_KEY = "kept-by-the-gateway"
