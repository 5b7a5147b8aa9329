// Keeps the page as things are: parts of it come as HTML that the gateway has escaped.
"use strict"
{
  const csrf = document.querySelector("meta[name=csrf]").content
  const at = (id) => document.getElementById(id)
  const told = at("told")
  let busy = 0
  let leaving = false

  const say = (words, bad = false) => {
    told.textContent = words
    told.hidden = !words
    told.classList.toggle("tone-bad", bad)
  }

  const link = (state, words) => {
    at("link").dataset.state = state
    at("link-words").textContent = words
  }

  // ---------------------------------------------------------------- what is new

  const replace = (name, html) => {
    const part = at(`part-${name}`)
    const focused = part.contains(document.activeElement) ? document.activeElement.id : ""
    const opened = [...part.querySelectorAll("details[open]")].map((details) => details.id)
    part.innerHTML = html
    for (const id of opened) at(id)?.setAttribute("open", "")
    if (focused) at(focused)?.focus()
  }

  const count = () => {
    for (const place of document.querySelectorAll("[data-began]")) {
      const seconds = Math.max(0, Math.round(Date.now() / 1000 - Number(place.dataset.began)))
      place.textContent = seconds < 120 ? `${seconds} s` : `${Math.floor(seconds / 60)} min`
    }
  }

  const farewells = {
    ended: "The gateway has ended. Whatever needs it starts it again; then run kiro-auth dashboard.",
    elsewhere: "A newer tab shows the dashboard. Reload this one to follow it here.",
    closed: "The session has ended. Run kiro-auth dashboard to open it again.",
  }
  const follow = () => {
    const events = new EventSource("/dashboard/events")
    let misses = 0
    events.addEventListener("parts", ({ data }) => {
      misses = 0
      link("open", "Live")
      const parts = JSON.parse(data)
      if (busy) delete parts.accounts // its buttons are in use; it comes again when they are free
      for (const [name, html] of Object.entries(parts)) replace(name, html)
      count()
      if (parts.summary) showSpending()
    })
    events.addEventListener("bye", ({ data }) => {
      events.close()
      link("closed", "Not live")
      say(farewells[JSON.parse(data)], true)
    })
    events.onerror = () => {
      link("lost", "Reconnecting…")
      if (events.readyState === EventSource.CLOSED || ++misses > 3) {
        events.close()
        link("closed", "Not live")
        say(farewells.ended, true)
      }
    }
    return events
  }

  // ---------------------------------------------------------------- what a person does

  const post = async (path) => {
    const answer = await fetch(path, { method: "POST", headers: { "x-csrf-token": csrf } })
    const body = await answer.json()
    if (!answer.ok) throw new Error(body.message)
    return body
  }

  const pause = (milliseconds) => new Promise((go) => setTimeout(go, milliseconds))

  const signIn = async (prompt) => {
    const dialog = at("sign-in")
    at("sign-in-url").href = prompt.url
    at("sign-in-code").textContent = prompt.code
    at("sign-in-notice").textContent = prompt.notice ?? ""
    at("sign-in-state").textContent = "Waiting for the confirmation…"
    dialog.showModal()
    while (dialog.open) {
      await pause(1000)
      const answer = await fetch(`/dashboard/sign-ins/${prompt.id}`)
      const { status, message, account } = await answer.json()
      if (status === "pending") continue
      const words = status === "done" ? `${account} is signed in.` : message
      at("sign-in-state").textContent = words
      if (status === "done") dialog.close()
      say(words, status !== "done")
      return
    }
  }

  document.addEventListener("click", async ({ target }) => {
    const button = target.closest("[data-action]")
    if (!button || button.getAttribute("aria-busy")) return
    const { account } = button.closest("[data-account]").dataset
    button.setAttribute("aria-busy", "true")
    busy += 1
    try {
      const done = await post(`/dashboard/accounts/${encodeURIComponent(account)}/${button.dataset.action}`)
      if (button.dataset.action === "sign-in") signIn(done).catch((error) => say(error.message, true))
      else say(done.message)
    } catch (error) {
      say(error.message, true)
    } finally {
      busy -= 1
      button.removeAttribute("aria-busy")
      stream.close()
      if (!leaving) stream = follow()
    }
  })

  at("close").addEventListener("click", async () => {
    // Whatever is asked with a session that has ended is refused, and the browser reports that as an error.
    leaving = true
    stream.close()
    stopAsking()
    await post("/dashboard/close").catch(() => {})
    location.reload()
  })

  const words = () => {
    const { theme } = document.documentElement.dataset
    at("theme").textContent = `◐ ${{ system: "System", light: "Light", dark: "Dark" }[theme]}`
    at("theme").setAttribute("aria-label", `${theme.replace(/^./, (letter) => letter.toUpperCase())} theme; change it`)
  }
  at("theme").addEventListener("click", () => {
    const root = document.documentElement
    root.dataset.theme = themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length]
    try {
      localStorage.setItem("theme", root.dataset.theme)
    } catch {
      // it holds until the page is left
    }
    words()
    drawAgain()
  })

  words()
  count()
  setInterval(count, 1000)
  showSpending()
  for (const choice of document.querySelectorAll("#spending input")) choice.addEventListener("change", showSpending)
  let stream = follow()
}
