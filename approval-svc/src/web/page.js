// Keeps an open page true without loading it anew. Everything works without this; it only saves looking again.
"use strict";

(() => {
  const page = document.body.dataset;
  const skew = Date.now() - Number(page.now);
  const byId = (id) => document.getElementById(id);

  const span = (ms) => {
    const seconds = Math.floor(ms / 1000);
    if (seconds < 1) return "moments";
    if (seconds < 120) return `${seconds} s`;
    if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 259200) return `${Math.floor(seconds / 3600)} h`;
    return `${Math.floor(seconds / 86400)} days`;
  };

  // Nobody is read a countdown, but that five minutes and one minute are left is said, once each.
  let said = Infinity;
  const warn = (left) => {
    const mark = [60_000, 300_000].find((ms) => left <= ms) ?? Infinity;
    if (mark >= said || left <= 0) return;
    said = mark;
    byId("announce").textContent = mark === 60_000 ? "One minute left" : "Five minutes left";
  };

  const tick = () => {
    const now = Date.now() - skew;
    for (const time of document.querySelectorAll("time[data-until]")) {
      const left = Number(time.dataset.until) - now;
      const text = left > 0 ? `${span(left)} left` : "time is up";
      if (time.textContent !== text) time.textContent = text;
      if (page.page === "approval") warn(left);
    }
    for (const time of document.querySelectorAll("time[data-since]")) {
      time.textContent = `${span(Math.max(0, now - Number(time.dataset.since)))} ago`;
    }
  };

  // On a phone the pages stand in one line that is pushed sideways: the one that is open is to be seen.
  const here = document.querySelector(".places [aria-current]");
  if (here) here.parentElement.scrollLeft = here.offsetLeft - (here.parentElement.clientWidth - here.offsetWidth) / 2;

  const load = async (path) => {
    const answer = await fetch(path, { credentials: "same-origin", redirect: "error", cache: "no-store" });
    if (answer.status === 401) location.reload();
    if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  };

  // One load at a time and in order, so that an older answer never overwrites a newer one.
  let last = Promise.resolve();
  const inTurn = (work) => {
    last = last.then(work).catch((error) => console.warn(error));
  };

  const count = () => {
    const waiting = byId("waiting").children.length;
    byId("count").textContent = waiting;
    document.title = `${waiting ? `(${waiting}) ` : ""}Approvals · Holdpoint`;
    byId("heard").textContent = waiting === 1 ? "1 approval waits" : `${waiting} approvals wait`;
  };

  const place = async (id) => {
    const fresh = document.adoptNode((await load(`/approvals/${id}/row`)).querySelector("li"));
    const old = byId(fresh.id);
    const focused = Boolean(old && old.contains(document.activeElement));
    const next = old && (old.nextElementSibling || old.previousElementSibling);
    const list = byId(fresh.dataset.status === "pending" ? "waiting" : "recent");
    if (old && old.parentNode === list) {
      old.replaceWith(fresh);
      if (focused) fresh.querySelector("a").focus({ preventScroll: true });
    } else {
      if (old) old.remove();
      fresh.classList.add("fresh");
      list.prepend(fresh);
      if (focused) (next ? next.querySelector("a") : byId("waiting-heading")).focus({ preventScroll: true });
    }
    count();
    tick();
  };

  const renew = async () => {
    const fresh = await load(`/approvals/${page.approval}`);
    for (const id of ["standing", "progress", "forms"]) {
      const [old, now] = [byId(id), fresh.getElementById(id)];
      // What somebody is typing is left alone while it can still be sent.
      const typing = old.contains(document.activeElement) || [...old.querySelectorAll("textarea")].some((it) => it.value) || old.querySelector("details[open]");
      if (old.outerHTML === now.outerHTML || (id === "forms" && typing && now.querySelector("textarea"))) continue;
      const focused = old.contains(document.activeElement);
      old.replaceWith(document.adoptNode(now));
      if (focused) byId("main").focus({ preventScroll: true });
    }
    if (document.title !== fresh.title) byId("announce").textContent = fresh.querySelector("#standing").textContent;
    document.title = fresh.title;
    gate();
    tick();
  };

  const changed = (id) => {
    if (page.page === "inbox") inTurn(() => place(id));
    if (page.page === "approval" && page.approval === id) inTurn(renew);
  };

  // Long values have to be opened before the call can be approved. Without this script, the reader says so.
  const gate = () => {
    const [button, box, note] = [byId("approve"), byId("opened"), byId("unopened")];
    if (!button || !box) return;
    const folds = [...document.querySelectorAll(".call .fold")];
    for (const fold of folds) if (fold.open) fold.dataset.seen = "yes";
    const closed = folds.filter((fold) => !fold.dataset.seen).length;
    byId("opened-label").hidden = true;
    box.checked = closed === 0;
    button.disabled = closed > 0;
    note.hidden = closed === 0;
    note.textContent = closed === 1 ? "Open the long value of the call first." : `Open the ${closed} long values of the call first.`;
    if (closed > 0) button.setAttribute("aria-describedby", "unopened");
    else button.removeAttribute("aria-describedby");
  };
  document.addEventListener("toggle", gate, true);

  // Single keys act only where somebody asked for them, and never while something is typed. None of them decides.
  const keysOn = () => localStorage.getItem("holdpoint-keys") === "on";
  const rows = () => [...document.querySelectorAll(".row a")];
  const step = (by) => {
    const all = rows();
    const at = all.findIndex((row) => row === document.activeElement);
    const next = all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + by))];
    if (next) next.focus();
  };
  const keys = {
    j: () => step(1),
    k: () => step(-1),
    o: () => document.activeElement.closest(".row")?.querySelector("a").click(),
    u: () => page.page === "approval" && location.assign("/approvals"),
    a: () => byId("approve")?.focus(),
    d: () => byId("reason")?.focus(),
    "/": () => (byId("text") ? byId("text").focus() : location.assign("/history")),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.altKey || event.metaKey || !keysOn()) return;
    const act = Object.hasOwn(keys, event.key) && keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  if (byId("keys")) {
    byId("keys").hidden = false;
    byId("keys-on").checked = keysOn();
    byId("keys-on").addEventListener("change", (event) => localStorage.setItem("holdpoint-keys", event.target.checked ? "on" : "off"));
  }

  // What cannot be taken back is asked once more. Without this script the service asks on a page of its own.
  const question = (form) => {
    const uses = form.querySelector("[name=uses]");
    return (uses && Number(uses.value) > 1 && form.dataset.confirmReach) || form.dataset.confirm;
  };
  const ask = (form, words, button) => {
    const dialog = byId("confirm");
    byId("confirm-question").textContent = words;
    byId("confirm-yes").textContent = button ? button.textContent : "Yes";
    dialog.returnValue = "no";
    dialog.onclose = () => {
      if (dialog.returnValue !== "yes") return;
      const yes = Object.assign(document.createElement("input"), { type: "hidden", name: "confirmed", value: "yes" });
      form.append(yes);
      form.requestSubmit();
    };
    dialog.showModal();
  };
  // A decision is sent once, however often the button is pressed.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method === "dialog" || form.method === "get") return;
    const words = question(form);
    if (words && !form.querySelector("[name=confirmed]")) {
      event.preventDefault();
      ask(form, words, event.submitter);
      return;
    }
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });

  gate();
  setInterval(tick, 1000);
  // The page of whoever asked has no session, and so no line of events: it looks again, and changes only what has changed.
  if (page.page === "status") {
    const look = setInterval(() => inTurn(async () => {
      const fresh = (await load(location.pathname)).getElementById("stands");
      if (fresh.outerHTML === byId("stands").outerHTML) return;
      byId("stands").replaceChildren(...document.adoptNode(fresh).childNodes);
      if (!document.querySelector("#stands .pending")) clearInterval(look);
    }), 5000);
    return;
  }
  if (page.page !== "inbox" && page.page !== "approval") return;
  const events = new EventSource("/live");
  events.addEventListener("approval", (event) => changed(JSON.parse(event.data).approval_id));
  events.addEventListener("reload", () => location.reload());
  // What happened while the line was down: the browser says after which event it left off, and gets the rest.
  addEventListener("pagehide", () => events.close());
})();
