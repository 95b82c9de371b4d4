// Sorting: a click on a column's name orders the rows by its numbers, a second click the other way round.
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const up = head.getAttribute("aria-sort") === "descending";
      for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const order = (a, b) => {
        const [x, y] = [Number(key(a)), Number(key(b))];
        if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
        const sign = Number.isNaN(x) || Number.isNaN(y) ? key(a).localeCompare(key(b)) : x - y;
        return up ? sign : -sign;
      };
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort(order));
    };
  });
}
// Choosing a policy: without scripts every policy is shown.
const choices = document.querySelectorAll("input[name=policy]");
const choose = (policy) => {
  for (const part of document.querySelectorAll("[data-policy]")) part.hidden = part.dataset.policy !== policy;
};
for (const input of choices) input.onchange = () => choose(input.value);
for (const field of document.querySelectorAll(".choice")) field.hidden = choices.length < 2;
if (choices.length > 1) choose(document.querySelector("input[name=policy]:checked").value);
