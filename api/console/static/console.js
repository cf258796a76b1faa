// Keeps what a page shows fresh: fetches the page again and puts its live parts where the old ones are.
// Without this everything works; one reloads by hand.
const EVERY_MS = 5000;
const PATIENCE_MS = 15000;
const fresh = document.getElementById("fresh");
let paused = false;

function tell(sentence, stale) {
  fresh.firstChild.textContent = `${sentence} `;
  fresh.classList.toggle("stale", stale);
}

function now() {
  return `As of ${new Date().toISOString().slice(11, 19)} UTC.`;
}

async function refresh() {
  if (paused || document.hidden) return;
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.redirected) return location.reload(); // signed out: the page leads to the form
    if (!answer.ok) throw new Error(answer.status === 503 ? "the server cannot serve just now" : `status ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const anew = page.getElementById(part.id);
      if (anew && !part.contains(document.activeElement)) part.replaceWith(document.adoptNode(anew));
    }
    tell(now(), false);
  } catch (error) {
    tell(`Not fresh: ${error.message}.`, true);
  }
}

async function keepOn() {
  await refresh();
  setTimeout(keepOn, EVERY_MS);
}

if (document.querySelector("[data-live]")) {
  const button = document.createElement("button");
  button.textContent = "Pause";
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Go on" : "Pause";
  });
  fresh.append("", button);
  tell(now(), false);
  fresh.hidden = false;
  setTimeout(keepOn, EVERY_MS);
}
