// Filters the rows of the scoreboard by chapter and verdict. Without this script all rows are shown.
addEventListener("DOMContentLoaded", () => {
  const boxes = [...document.querySelectorAll(".scoreboard-box")];
  const first = boxes.find(box => box.id.startsWith("claims-"));
  if (!first) return;
  const chapterOf = box => box.id.slice(box.id.indexOf("-") + 1);
  const verdictsOf = row =>
    [...row.lastElementChild.querySelectorAll(".robustkit-verdict")].map(mark =>
      mark.className.replace("robustkit-verdict", "").replace("robustkit-", "").trim());
  const rowsOf = box => [...box.querySelectorAll("tbody tr")];

  const form = document.createElement("form");
  form.className = "scoreboard-filter";
  form.setAttribute("aria-label", "Filter of the rows");
  const choice = (name, options) => {
    const label = document.createElement("label");
    const select = document.createElement("select");
    select.name = name;
    select.append(...[["", "all"], ...options].map(([value, text]) => new Option(text, value)));
    label.append(`${name[0].toUpperCase()}${name.slice(1)} `, select);
    form.append(label);
    return select;
  };
  const claims = boxes.filter(box => box.id.startsWith("claims-"));
  const chapter = choice("chapter", claims.map(box =>
    [chapterOf(box), box.querySelector("caption a").textContent]));
  const verdicts = [...new Set(claims.flatMap(rowsOf).flatMap(verdictsOf))].sort();
  const verdict = choice("verdict", verdicts.map(name => [name, name.replaceAll("-", " ")]));
  const all = document.createElement("button");
  all.type = "button";
  all.textContent = "Show all";
  const count = document.createElement("output");
  count.setAttribute("aria-live", "polite");
  form.append(all, count);

  const apply = () => {
    let shown = 0;
    for (const box of boxes) {
      const rows = rowsOf(box);
      for (const row of rows)
        row.hidden = Boolean(
          (chapter.value && chapter.value !== chapterOf(box)) ||
          (verdict.value && !verdictsOf(row).includes(verdict.value)));
      box.hidden = rows.every(row => row.hidden);
      if (claims.includes(box)) shown += rows.filter(row => !row.hidden).length;
    }
    count.textContent = `${shown} of ${claims.flatMap(rowsOf).length} rows`;
  };
  const choose = (one, other) => {
    for (const [select, value] of [[chapter, one], [verdict, other]])
      select.value = [...select.options].some(option => option.value === value) ? value : "";
    apply();
  };
  // A link to a row that the filter hides would lead nowhere.
  const follow = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target?.closest("[hidden]")) choose("", "");
    target?.scrollIntoView();
  };
  form.addEventListener("change", apply);
  form.addEventListener("submit", event => event.preventDefault());
  all.addEventListener("click", () => choose("", ""));
  addEventListener("hashchange", follow);
  first.before(form);
  const asked = new URLSearchParams(location.search);
  choose(asked.get("chapter") ?? "", asked.get("verdict") ?? "");
  if (location.hash) follow();
});
