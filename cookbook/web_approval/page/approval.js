// Shows every draft, and asks the server every two seconds whether something changed: other people decide too.

const [by, form, message, notice, drafts] =
  ["by", "form", "message", "notice", "drafts"].map(id => document.getElementById(id));
let shown = "", refused = "";

async function refresh() {
  try {
    const text = await (await fetch("drafts")).text();
    if (text !== shown) drafts.replaceChildren(...JSON.parse(text).reverse().map(card)); // the newest first
    shown = text;
    notice.textContent = refused;
  } catch {
    notice.textContent = "The server does not answer. Start it again: nothing is lost.";
  }
}

async function post(path, body = {}) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(path, options).catch(() => null); // that nobody is there, `refresh` says
  refused = response?.status === 409 ? (await response.json()).detail : ""; // somebody else was first
  await refresh();
}

function card(run) {
  const article = make("article", {}, make("p", { className: "message" }, run.shared.message ?? run.run_id));
  if (run.shared.draft) article.append(make("p", { className: "draft" }, run.shared.draft));
  article.append(...next(run));
  return article;
}

// What a person can do about a run, or what became of it.
function next({ run_id, status, error, questions, history }) {
  const path = `drafts/${encodeURIComponent(run_id)}`;
  if (status === "running") return [make("p", { className: "quiet" }, "A draft is being written.")];
  if (questions.length) return questions.map(({ question, choices }) => make("div", { className: "choices" },
    make("span", {}, question), ...choices.map(value => button(value, () => decide(`${path}/answer`, value)))));
  const { value, by, at } = history.findLast(row => row.kind === "answer") ?? {};
  const decided = value ? `Answered “${value}” by ${by}, ${new Date(at).toLocaleString()}. ` : "";
  if (status === "finished") return [make("p", { className: "quiet" }, decided)];
  const why = error || "The server stopped here.";
  return [make("div", { className: "choices" },
    make("span", {}, decided + why), button("go on", () => post(`${path}/resume`)))];
}

function decide(path, value) {
  if (by.reportValidity()) post(path, { value, by: by.value.trim() });
}

function button(text, onclick) {
  return make("button", { type: "button", onclick }, text);
}

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children); // texts as text, whoever wrote them
  return element;
}

form.addEventListener("submit", event => {
  event.preventDefault();
  post("drafts", { message: message.value });
});
by.addEventListener("change", () => localStorage.setItem("by", by.value));
by.value = localStorage.getItem("by") ?? "";
setInterval(refresh, 2000);
refresh();
