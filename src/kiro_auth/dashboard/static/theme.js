// Before anything is drawn, so that a page in the dark does not flash.
"use strict"
const themes = ["system", "light", "dark"]
const theme = () => {
  try {
    const kept = localStorage.getItem("theme")
    return themes.includes(kept) ? kept : "system"
  } catch {
    return "system" // a browser that keeps nothing
  }
}
document.documentElement.dataset.theme = theme()
