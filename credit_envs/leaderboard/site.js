// Filtering: rows that don't match are hidden, and how many are left is said aloud.
const form = document.querySelector(".filters");
if (form) {
  const rows = [...document.querySelectorAll("table.board tbody tr")];
  const said = form.querySelector("output");
  const filter = () => {
    const wanted = {};
    for (const input of form.querySelectorAll("[data-filter]")) wanted[input.dataset.filter] = input.value.trim().toLowerCase();
    for (const row of rows) {
      row.hidden = !Object.entries(wanted).every(([key, value]) =>
        key === "find" ? row.dataset.find.includes(value) : !value || row.dataset[key] === value);
    }
    said.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} ${said.dataset.what}`;
  };
  form.oninput = filter;
  form.onsubmit = () => false;
  filter();
}
