// Brings the parts of a page up to date while it tells of something at work. Everything works without.
"use strict";

// Longer than this the page does not wait between two looks, in seconds.
const LONGEST = 30;

const main = document.querySelector("main[data-refresh]");
const unreachable = document.getElementById("unreachable");

const focusable = "a[href], button, input, select, summary, [tabindex]";

// Puts what has changed in the place of what was; what has not stays. The focus goes to what stands in its place.
function take(fresh) {
  for (const part of document.querySelectorAll("[data-part]")) {
    const other = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
    if (!other || other.innerHTML === part.innerHTML) continue;
    const focused = [...part.querySelectorAll(focusable)].indexOf(document.activeElement);
    part.replaceChildren(...document.adoptNode(other).childNodes);
    if (focused >= 0) (part.querySelectorAll(focusable)[focused] ?? main).focus({ preventScroll: true });
  }
}

// Looks at the page once more; answers in how many seconds to look again, or nothing when there is no more to come.
async function look(seconds) {
  if (document.hidden) return seconds;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
  if (answer.redirected) {
    location.reload();
    return 0;
  }
  if (!answer.ok) throw new Error(answer.statusText);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  take(fresh);
  unreachable.hidden = true;
  return Number(fresh.querySelector("main")?.dataset.refresh ?? 0);
}

async function follow(seconds) {
  let next = seconds;
  try {
    next = await look(seconds);
  } catch {
    unreachable.hidden = false;
    next = Math.min(seconds * 2, LONGEST);
  }
  if (next > 0) setTimeout(follow, next * 1000, next);
}

if (main) setTimeout(follow, Number(main.dataset.refresh) * 1000, Number(main.dataset.refresh));
