"""How the picture of `shift_grid` looks, and what it does when a square is chosen."""

from string import Template

STYLE = Template("""\
html[data-theme=dark] .text_html:has(#$id){background:none;color:inherit;padding:0}
#$id{container-type:inline-size;color:inherit;print-color-adjust:exact}
#$id p{margin:0 0 .6rem}
#$id .sg-body{align-items:start;display:grid;gap:1rem 2rem;grid-template-rows:auto 1fr;
grid-template-columns:minmax(0,5fr) minmax(0,6fr)}
#$id .sg-panel{display:grid;gap:.8rem;grid-row:1/3;grid-column:2;grid-template-columns:1fr 1fr}
#$id .sg-panel p:not(:has(~.sg-of-crop)){grid-column:1/3;min-height:4.4em}
@container(max-width:34rem){#$id .sg-body{display:flex;flex-direction:column;align-items:stretch}}
#$id .sg-grid{display:grid;gap:.2rem;grid-template-columns:auto minmax(0,1fr);max-width:26rem}
#$id .sg-axis{display:flex;justify-content:space-between;font-size:.75rem;line-height:1.2}
#$id .sg-down{writing-mode:vertical-lr}
#$id .sg-across{grid-column:2}
#$id .sg-squares{container-type:inline-size}
#$id table{border-collapse:separate;border-spacing:0;display:table;margin:0;
table-layout:fixed;width:100%}
#$id td{border:0;cursor:crosshair;font:calc(100cqw/$side*$letter)/1 monospace;overflow:hidden;
height:calc(100cqw/$side);padding:0;text-align:center;touch-action:pan-y;vertical-align:middle}
#$id :is(td,.sg-mark){forced-color-adjust:none}
#$id .sg-zero{box-shadow:inset 0 0 0 max(1px,.1em) currentColor}
#$id td[aria-selected]{outline:2px solid $ink;box-shadow:0 0 0 4px $paper;overflow:visible;
position:relative;z-index:1}
#$id .sg-mark{border-radius:.2em;display:inline-block;font:1rem/1.4 monospace;min-width:1.4em;
text-align:center}
#$id .sg-panel p{margin:0;overflow-wrap:anywhere}
#$id figure{margin:0;max-width:16rem;min-width:0;padding:0}
#$id figcaption{color:inherit;font-size:.8rem;line-height:1.3;margin:.4rem 0 0;text-align:left}
#$id figure>div{background:url(data:image/png;base64,$photograph) no-repeat;
image-rendering:$scaling;margin:3px;overflow:hidden;position:relative}
#$id .sg-photograph{aspect-ratio:var(--W)/var(--H);background-size:100% 100%}
#$id .sg-window{aspect-ratio:var(--w)/var(--h);outline:3px solid $seen;
background-size:calc(100%*var(--W)/var(--w)) calc(100%*var(--H)/var(--h));
background-position:calc(100%*var(--x)/max(1,var(--W) - var(--w)))
calc(100%*var(--y)/max(1,var(--H) - var(--h)))}
#$id .sg-crop{aspect-ratio:var(--n)/var(--m);outline:3px dashed $kept;
background-size:calc(100%*var(--W)/var(--n)) calc(100%*var(--H)/var(--m));
background-position:calc(100%*var(--u)/max(1,var(--W) - var(--n)))
calc(100%*var(--v)/max(1,var(--H) - var(--m)))}
#$id .sg-photograph span{box-sizing:border-box;position:absolute}
#$id .sg-seen{border:2px solid $seen;box-shadow:0 0 0 100vmax #0008;
left:calc(100%*var(--x)/var(--W));top:calc(100%*var(--y)/var(--H));
width:calc(100%*var(--w)/var(--W));height:calc(100%*var(--h)/var(--H))}
#$id .sg-kept{border:2px dashed $kept;
left:calc(100%*var(--u)/var(--W));top:calc(100%*var(--v)/var(--H));
width:calc(100%*var(--n)/var(--W));height:calc(100%*var(--m)/var(--H))}
#$id ul{display:grid;gap:.3rem 2rem;list-style:none;margin:0 0 .8rem;padding:0;
grid-template-columns:repeat(auto-fill,minmax(min(16rem,100%),1fr))}
#$id li{align-items:start;display:flex;gap:.5rem;margin:0;overflow-wrap:anywhere}
#$id li :last-child{margin-left:auto;white-space:nowrap}
""")

# A page may hold the same picture twice, and run its script twice.
SCRIPT = Template("""\
for (const root of document.querySelectorAll("#$id:not([data-live])")) {
  root.dataset.live = "";
  const find = (what) => root.querySelector(what);
  const grid = find("table"), cells = [...root.querySelectorAll("td")];
  const side = Math.sqrt(cells.length), half = (side - 1) / 2;
  const start = ["--y", "--x"].map((name) => +root.style.getPropertyValue(name));
  const crops = root.dataset.crops.split(";").map((crop) => crop.split(","));
  const names = {};
  for (const line of root.querySelectorAll("li"))
    names[line.children[0].textContent] = line.children[1].textContent;
  const signed = (value) => (value > 0 ? "+" : value < 0 ? "\u2212" : "") + Math.abs(value);
  const shiftOf = (place) => [Math.floor(place / side) - half, place % side - half];
  const told = (place) => {
    const [row, column] = shiftOf(place);
    const still = row || column ? "" : " (no shift)";
    return "rows " + signed(row) + ", columns " + signed(column) + still;
  };
  let now = -1;
  const show = (place) => {
    const cell = cells[place], mark = find(".sg-panel .sg-mark");
    if (!cell || place === now) return;
    cells[now]?.removeAttribute("aria-selected");
    if (now >= 0) cells[now].tabIndex = -1;
    now = place;
    cell.setAttribute("aria-selected", "true");
    cell.tabIndex = 0;
    mark.textContent = cell.textContent;
    mark.className = cell.classList[0] + " sg-mark";
    find(".sg-name").textContent = names[cell.textContent];
    find(".sg-shift").textContent = told(place);
    shiftOf(place).forEach((by, axis) =>
      root.style.setProperty(["--y", "--x"][axis], start[axis] + by));
    if (find(".sg-where")) {
      const [row, column] = crops[place];
      root.style.setProperty("--v", row);
      root.style.setProperty("--u", column);
      find(".sg-where").textContent = "crop from row " + row + ", column " + column;
    }
    if (grid.contains(document.activeElement)) cell.focus({ preventScroll: true });
  };
  const point = (event) =>
    show(cells.indexOf(document.elementFromPoint(event.clientX, event.clientY)));
  grid.addEventListener("pointermove", point);
  grid.addEventListener("pointerdown", point);
  grid.addEventListener("focusin", (event) => show(cells.indexOf(event.target)));
  grid.addEventListener("keydown", (event) => {
    const column = now % side;
    const steps = {
      ArrowUp: now < side ? 0 : -side, ArrowDown: now + side < cells.length ? side : 0,
      ArrowLeft: column && -1, ArrowRight: column < side - 1 ? 1 : 0,
      Home: -column, End: side - 1 - column,
    };
    if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in steps)) return;
    event.preventDefault();
    show(now + steps[event.key]);
  });
  grid.setAttribute("role", "grid");
  cells.forEach((cell, place) => {
    cell.tabIndex = -1;
    cell.setAttribute("aria-label", names[cell.textContent] + ", " + told(place));
  });
  find("[hidden]").hidden = false;
  show((cells.length - 1) / 2);
}
""")
