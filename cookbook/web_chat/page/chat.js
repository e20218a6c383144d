// A conversation is a list of {role, content}, as models have it. It lives in this tab alone, and survives a reload.

const [main, examples, log, form, question, send, stop, newChat] =
  ["main", "examples", "log", "form", "question", "send", "stop", "new"].map(id => document.getElementById(id));
let messages = JSON.parse(sessionStorage.getItem("messages") ?? "[]");
let request = new AbortController(); // of the answer that is coming

async function ask(text) {
  const conversation = messages, { signal } = (request = new AbortController());
  log.querySelector(".error")?.remove();
  const asked = show("user", text), answer = show("assistant", "");
  conversation.push({ role: "user", content: text });
  setBusy(true);
  const error = await receive(conversation, answer, signal);
  setBusy(false);
  if (conversation !== messages) return; // a new chat has begun
  if (error || !answer.textContent) takeBack(conversation, asked, answer);
  else conversation.push({ role: "assistant", content: answer.textContent }); // of a stopped one what there is
  if (error) show("error", error).setAttribute("role", "alert");
  keep();
}

// Show the answer as it comes; returns what went wrong, if anything did.
async function receive(conversation, answer, signal) {
  try {
    for await (const { text, retry, error } of lines(conversation, signal)) {
      if (error) return error;
      if (text) {
        delete answer.dataset.note;
        append(answer, text);
      } else { // it begins anew
        answer.replaceChildren();
        answer.dataset.note = `No answer yet, asking again in ${Math.ceil(retry)} s`;
      }
    }
    if (!answer.textContent) return "The model said nothing: send it again, or ask in other words.";
  } catch (error) {
    if (!signal.aborted) return `The server of this page does not answer (${error.message}): start it, then send again.`;
  }
}

// Each line that the server sends, as it comes.
async function* lines(conversation, signal) {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch("chat", { method: "POST", headers, body: JSON.stringify(conversation), signal });
  if (!response.ok) throw new Error(`status ${response.status}`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const parts = (rest + read.value).split("\n");
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

function show(kind, text) {
  const line = document.createElement("p");
  line.className = kind;
  log.append(line);
  append(line, text);
  return line;
}

function append(line, text) {
  const isAtEnd = main.scrollHeight - main.scrollTop - main.clientHeight < 80; // who reads further up stays there
  line.append(text); // as text: nothing that a model writes is read as HTML
  examples.hidden = true;
  if (isAtEnd) main.scrollTop = main.scrollHeight;
}

// A question without an answer goes back to where it was written.
function takeBack(conversation, asked, answer) {
  conversation.pop();
  question.value ||= asked.textContent;
  asked.remove();
  answer.remove();
}

function setBusy(busy) {
  log.setAttribute("aria-busy", busy); // a screen reader reads an answer when it is complete
  [send.hidden, stop.hidden] = [busy, !busy];
  question.focus();
}

function keep() {
  sessionStorage.setItem("messages", JSON.stringify(messages));
}

form.addEventListener("submit", event => {
  event.preventDefault();
  const text = question.value.trim();
  if (!text || send.hidden) return;
  question.value = "";
  ask(text);
});

question.addEventListener("keydown", event => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return; // Shift+Enter begins a new line
  event.preventDefault();
  form.requestSubmit();
});

document.addEventListener("keydown", event => event.key === "Escape" && request.abort());
stop.addEventListener("click", () => request.abort());
examples.addEventListener("click", event => event.target.matches("button") && ask(event.target.textContent));

newChat.addEventListener("click", () => {
  request.abort();
  messages = [];
  keep();
  log.replaceChildren();
  examples.hidden = false;
  question.focus();
});

for (const { role, content } of messages) show(role, content);
