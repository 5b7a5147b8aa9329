// Credits over time as stacked bars (uPlot), with the sums in a table that is its legend too.
"use strict"
const { showSpending, drawAgain, stopAsking } = (() => {
  const at = (id) => document.getElementById(id)
  const chosen = (name) => document.querySelector(`#spending input[name=${name}]:checked`).value
  const amount = (value) => value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })
  const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
  const label = (start) =>
    start.includes("T") ? start.slice(11) : `${months[Number(start.slice(5, 7)) - 1]} ${Number(start.slice(8))}`
  let plot = null
  let shown = null
  let asked = 0
  const leaving = new AbortController()

  const cell = (text, name) => {
    const made = document.createElement("td")
    made.textContent = text
    if (name) made.className = name
    return made
  }

  const table = ({ series, credits }) => {
    const rows = series.map((one, number) => {
      const row = document.createElement("tr")
      const name = document.createElement("th")
      const swatch = document.createElement("span")
      name.scope = "row"
      swatch.className = `swatch c${number}`
      name.append(swatch, one.name)
      const share = credits ? `${Math.round((one.credits / credits) * 100)}%` : ""
      row.append(name, cell(amount(one.credits), "figure"), cell(share, "figure"), cell(one.turns, "figure"))
      return row
    })
    at("spending-table").tBodies[0].replaceChildren(...rows)
    at("spending-table").hidden = !series.length
    at("no-spending").hidden = series.length > 0
    at("by-head").textContent = chosen("by").replace(/^./, (letter) => letter.toUpperCase())
  }

  const tip = (chart, series, starts) => {
    const { idx, left } = chart.cursor
    const box = at("tip")
    const parts = idx == null ? [] : series.filter((one) => one.values[idx] > 0)
    box.hidden = !parts.length
    if (!parts.length) return
    const head = document.createElement("b")
    head.textContent = label(starts[idx])
    const lines = parts.map((one) => {
      const line = document.createElement("span")
      line.textContent = `${one.name}: ${amount(one.values[idx])}`
      return line
    })
    box.replaceChildren(head, ...lines)
    const room = at("plot").clientWidth - box.offsetWidth - 8
    box.style.left = `${Math.max(0, Math.min(room, left + 60))}px`
  }

  const draw = () => {
    plot?.destroy()
    plot = null
    const { series, starts } = shown
    if (!series.length) return
    const colour = (selector, what) => getComputedStyle(document.querySelector(selector))[what]
    const quiet = colour("footer p", "color")
    const line = colour("#spending", "borderTopColor")
    const bars = uPlot.paths.bars({ size: [0.72, 40] })
    // Each bar is drawn as high as itself and all below it; the lowest is drawn last, over the others.
    const stacked = series.map((_, upTo) =>
      starts.map((_, place) => series.slice(0, upTo + 1).reduce((sum, one) => sum + one.values[place], 0)),
    )
    const axis = { stroke: quiet, font: "12px system-ui, sans-serif", ticks: { show: false } }
    plot = new uPlot(
      {
        width: at("plot").clientWidth,
        height: 220,
        padding: [10, 14, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
        scales: {
          x: { time: false, range: [-0.5, starts.length - 0.5] },
          y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] },
        },
        axes: [
          { ...axis, grid: { show: false }, size: 30, space: 56, incrs: [1, 2, 3, 4, 5, 6, 7, 14], values: (_, places) => places.map((place) => (starts[place] ? label(starts[place]) : "")) },
          { ...axis, grid: { stroke: line, width: 1 }, size: 52, space: 44 },
        ],
        series: [
          {},
          ...series
            .map((one, number) => ({ label: one.name, fill: colour(`.swatch.c${number}`, "backgroundColor"), width: 0, paths: bars, points: { show: false } }))
            .reverse(),
        ],
        hooks: { setCursor: [(chart) => tip(chart, series, starts)] },
      },
      [starts.map((_, place) => place), ...stacked.reverse()],
      at("plot"),
    )
  }

  const show = async () => {
    const turn = ++asked
    const path = `/dashboard/spending?by=${chosen("by")}&span=${chosen("span")}`
    const answer = await fetch(path, { signal: leaving.signal })
    if (!answer.ok || turn !== asked) return // a later question is on its way
    const text = await answer.text()
    if (shown?.text === text + chosen("by")) return
    shown = { ...JSON.parse(text), text: text + chosen("by") }
    table(shown)
    draw()
  }

  addEventListener("resize", () => plot?.setSize({ width: at("plot").clientWidth, height: 220 }))
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => shown && draw())
  return {
    showSpending: () => show().catch(() => {}),
    drawAgain: () => shown && draw(),
    stopAsking: () => leaving.abort(),
  }
})()
