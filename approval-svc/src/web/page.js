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
    return `${Math.floor(seconds / 3600)} h`;
  };

  // Text only, and outside every live region: nobody is read a countdown.
  const tick = () => {
    const now = Date.now() - skew;
    for (const time of document.querySelectorAll("time[data-until]")) {
      const left = Number(time.dataset.until) - now;
      time.textContent = left > 0 ? `${span(left)} left` : "time is up";
    }
    for (const time of document.querySelectorAll("time[data-since]")) {
      time.textContent = `${span(Math.max(0, now - Number(time.dataset.since)))} ago`;
    }
  };

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
      const typing = old.contains(document.activeElement) || [...old.querySelectorAll("textarea")].some((it) => it.value);
      if (old.outerHTML === now.outerHTML || (id === "forms" && typing && now.querySelector("textarea"))) continue;
      const focused = old.contains(document.activeElement);
      old.replaceWith(document.adoptNode(now));
      if (focused) byId("main").focus({ preventScroll: true });
    }
    document.title = fresh.title;
    tick();
  };

  const changed = (id) => {
    if (page.page === "inbox") inTurn(() => place(id));
    if (page.page === "approval" && page.approval === id) inTurn(renew);
  };

  // A decision is sent once, however often the button is pressed.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });

  setInterval(tick, 1000);
  const events = new EventSource("/live");
  events.addEventListener("approval", (event) => changed(JSON.parse(event.data).approval_id));
  events.addEventListener("reload", () => location.reload());
  // What happened while the line was down: the browser says after which event it left off, and gets the rest.
  addEventListener("pagehide", () => events.close());
})();
