// kiro-auth OpenCode plugin @VERSION@
//
// For the window of OpenCode 2.x alone: shows as toasts what the gateway has to say. It asks a gateway that
// runs, after a turn, and starts none; `toast_level` in kiro.json says how much there is to show.
import { news } from "../../plugin/kiro.js"

/** What a turn used is known a moment after it. */
const MOMENT = 1500
const ENDS = ["session.execution.succeeded", "session.execution.failed"]

/** @param {any} context */
function setup(context) {
  /** The number of the last notice that this window has shown. */
  let last = 0
  /** @type {NodeJS.Timeout | undefined} */
  let timer
  const show = async () => {
    const { notices, last: newest } = await news(last)
    last = newest
    for (const { message, variant } of notices) context.ui.toast.show({ title: "Kiro", message, variant })
  }
  const later = () => {
    clearTimeout(timer)
    timer = setTimeout(show, MOMENT)
  }
  const ended = ENDS.map((type) => context.data.on(type, later))
  return () => {
    clearTimeout(timer)
    for (const end of ended) if (typeof end === "function") end()
  }
}

export default { id: "kiro-auth-tui", setup }
