"use strict";
// What the page does while it is open: copies, follows the box, measures the line.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  document.documentElement.classList.add("js");

  // --- copying; navigator.clipboard is there over https only ---------------------------------
  const select = (element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };
  const copy = async (button) => {
    const code = $("code", button.parentElement);
    let done = false;
    if (navigator.clipboard) {
      done = await navigator.clipboard.writeText(button.dataset.copy).then(() => true, () => false);
    }
    if (!done) {
      select(code); // and stays selected, so that it can be copied by hand where this fails
      done = document.execCommand("copy");
    }
    if (!done || button.classList.contains("done")) return;
    const name = button.getAttribute("aria-label");
    const show = (isDone) => {
      [...button.children].forEach((label, at) => { label.hidden = isDone !== (at === 1); });
      button.classList.toggle("done", isDone);
      button.setAttribute("aria-label", isDone ? button.lastElementChild.textContent : name);
    };
    show(true);
    await pause(2000);
    show(false);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (button) copy(button);
  });

  // --- following the box ---------------------------------------------------------------------
  const language = document.documentElement.lang;
  const lost = $("#lost");
  const verdict = $("[data-live=verdict]");
  let patience = 15;
  let heard = Date.now();
  const show = (isLost) => {
    if (lost.hidden === !isLost) return;
    lost.hidden = !isLost;
    verdict.hidden = isLost;
    document.documentElement.classList.toggle("stale", isLost);
  };
  const follow = () => {
    const events = new EventSource(`/status/events?lang=${language}`);
    events.onmessage = (event) => {
      const told = JSON.parse(event.data);
      patience = told.patience;
      heard = Date.now();
      for (const [name, html] of Object.entries(told.pieces)) {
        const place = $(`[data-live=${name}]`);
        if (place) place.innerHTML = html;
      }
      show(false);
    };
    events.onerror = () => {
      if (events.readyState !== EventSource.CLOSED) return; // it tries again by itself
      events.close();
      setTimeout(follow, 5000);
    };
  };
  follow();
  setInterval(() => show(Date.now() - heard > patience * 1000), 1000);

  // --- measuring the line --------------------------------------------------------------------
  const box = $("#measure");
  const [start, bar, said, result] = ["button", "progress", ".said", ".result"].map((s) => $(s, box));
  const labels = start.children;
  box.hidden = false;
  let running = null;
  const label = (number) => [...labels].forEach((one, at) => { one.hidden = at !== number; });

  const takeTurn = async (signal) => {
    let ticket = "";
    for (;;) {
      const answer = await fetch("/status/quality/turn", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ ticket }),
        signal,
      });
      if (answer.status === 503) throw new Error("full");
      if (!answer.ok) throw new Error("failed");
      const turn = await answer.json();
      if (!turn.ahead) return turn;
      ticket = turn.ticket;
      said.textContent = box.dataset.waiting.replace("#", turn.ahead + 1);
      await pause(1000);
    }
  };

  const roundTrips = async (turn, ask, progress) => {
    const trips = [];
    for (let i = 0; i < 3; i += 1) await ask("echo"); // the first one opens the connection
    const end = performance.now() + turn.trips_s * 1000;
    while (trips.length < turn.round_trips) {
      const before = performance.now();
      if (before > end && trips.length >= turn.fewest_trips) break;
      await ask("echo");
      trips.push(performance.now() - before);
      progress(trips.length / turn.round_trips);
    }
    return trips;
  };

  const fromBox = async (turn, ask, progress) => {
    const found = { bytes: 0, seconds: 0, stalls: 0, longest: 0 };
    const answer = await ask("down");
    const before = performance.now();
    let last = before;
    const reader = answer.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      const now = performance.now();
      if (now - last > turn.stall_ms && found.bytes) {
        found.stalls += 1;
        found.longest = Math.max(found.longest, now - last);
      }
      last = now;
      if (done) break;
      found.bytes += value.length;
      found.seconds = (now - before) / 1000;
      progress(Math.max(found.bytes / turn.stream_bytes, found.seconds / turn.stream_s));
      if (found.seconds > turn.stream_s) { // of a slow line, much is still under way
        reader.cancel();
        break;
      }
    }
    return found;
  };

  const toBox = async (turn, ask, progress) => {
    // 64 KiB, as many as it gives at once; a Blob, for a browser sends it twice as fast
    const noise = new Blob([crypto.getRandomValues(new Uint8Array(turn.chunk))]);
    const began = performance.now();
    const found = { bytes: 0, seconds: 0 };
    const send = async () => {
      let size = turn.first_chunk;
      for (;;) {
        const before = performance.now();
        if (before - began > turn.stream_s * 1000) return;
        if (found.bytes + 4 * size > turn.stream_bytes) return;
        await ask("up", { method: "POST", body: noise.slice(0, size) });
        const now = performance.now();
        found.bytes += size;
        found.seconds = (now - began) / 1000;
        if (now - before < turn.chunk_s * 1000) size = Math.min(turn.chunk, 2 * size);
        progress(Math.max(found.bytes / turn.stream_bytes, found.seconds / turn.stream_s));
      }
    };
    await Promise.all([send(), send(), send(), send()]);
    return found;
  };

  const measure = async (signal) => {
    const turn = await takeTurn(signal);
    const ask = async (what, options = {}) => {
      const url = `/status/quality/${what}?lang=${language}&ticket=${turn.ticket}`;
      const answer = await fetch(url, { cache: "no-store", signal, ...options });
      if (!answer.ok) throw new Error("failed");
      return answer;
    };
    const step = async (number, name, work) => {
      said.textContent = box.dataset[name];
      return work(turn, ask, (share) => { bar.value = (100 * (number + Math.min(1, share))) / 3; });
    };
    bar.hidden = false;
    const trips = await step(0, "trips", roundTrips);
    const down = await step(1, "down", fromBox);
    const up = await step(2, "up", toBox);
    const answer = await ask("result", {
      method: "POST",
      body: JSON.stringify({
        round_trips_ms: trips,
        down_bytes: down.bytes,
        down_s: down.seconds,
        up_bytes: up.bytes,
        up_s: up.seconds,
        stalls: down.stalls,
        longest_stall_ms: down.longest,
      }),
    });
    result.innerHTML = await answer.text();
    said.textContent = "";
  };

  start.addEventListener("click", async () => {
    if (running) {
      running.abort();
      return;
    }
    running = new AbortController();
    label(1);
    bar.value = 0;
    result.textContent = "";
    said.textContent = "";
    try {
      await measure(running.signal);
      label(2);
      result.focus();
    } catch (error) {
      label(0);
      const wasStopped = running.signal.aborted;
      said.textContent = wasStopped ? "" : box.dataset[error.message === "full" ? "full" : "failed"];
    }
    bar.hidden = true;
    running = null;
  });
})();
