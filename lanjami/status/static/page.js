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
      done = await navigator.clipboard.writeText(code.textContent).then(() => true, () => false);
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
  let seen = `&seen=${$("main").dataset.seen}`; // drawn with the page
  const follow = () => {
    const events = new EventSource(`/status/events?lang=${language}${seen}`);
    seen = "";
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
  let ticket = ""; // while there is a place in the queue
  const leave = () => {
    if (ticket) {
      const url = `/status/quality/leave?ticket=${ticket}`;
      fetch(url, { method: "POST", keepalive: true }).catch(() => {}); // the box forgets it, too
    }
    ticket = "";
  };
  addEventListener("pagehide", leave);
  const label = (number) => [...labels].forEach((one, at) => { one.hidden = at !== number; });

  const takeTurn = async (signal) => {
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
      ticket = turn.ticket;
      if (!turn.ahead) return turn;
      said.textContent = box.dataset.waiting.replace("#", turn.ahead + 1);
      await pause(1000);
    }
  };

  const onLanes = (lanes, work) => Promise.all(Array.from({ length: lanes }, work));

  const makeTrips = async (turn, ask, progress, lanes, most) => {
    const trips = [];
    await onLanes(lanes, async () => {
      for (let i = 0; i < 3; i += 1) await ask("echo"); // the first one opens the connection
      const end = performance.now() + turn.trips_s * 1000;
      while (trips.length < most) {
        const before = performance.now();
        if (before > end && trips.length >= turn.fewest_trips) break;
        await ask("echo");
        trips.push(performance.now() - before);
        progress(trips.length / most);
      }
    });
    return trips;
  };
  const oneByOne = (turn, ask, progress) => makeTrips(turn, ask, progress, 1, turn.round_trips);
  const atATime = (turn, ask, progress) =>
    makeTrips(turn, ask, progress, turn.lanes, turn.lane_trips);

  // What all lanes move together, in Mbit/s, for as long as a stream may take: a slow line starves
  // some, and their last pieces are still under way. Without the ramp, where they go on for longer
  // and that is faster.
  const flow = async (turn, stop, progress, work) => {
    const began = performance.now();
    const passed = () => (performance.now() - began) / 1000;
    const none = { bytes: 0, seconds: 0 };
    let all = none;
    let ramp = none;
    const ends = () => (all.bytes < turn.enough_bytes ? turn.slow_stream_s : turn.stream_s);
    const over = new AbortController();
    const end = () => over.abort();
    const look = () => { if (passed() >= ends()) end(); };
    const moved = (size) => {
      all = { bytes: all.bytes + size, seconds: passed() };
      if (all.seconds < turn.ramp_s) ramp = all;
      progress(Math.max(all.bytes / turn.stream_bytes, all.seconds / ends()));
    };
    const lane = async () => {
      try {
        await work(over.signal, moved);
      } catch (error) {
        if (stop.aborted || !over.signal.aborted) throw error;
      }
    };
    const clock = setInterval(look, 50);
    stop.addEventListener("abort", end);
    try {
      await onLanes(turn.lanes, lane);
    } finally {
      clearInterval(clock);
      stop.removeEventListener("abort", end);
      end(); // where one lane failed, the others are still at work
    }
    const since = (start) =>
      ((all.bytes - start.bytes) * 8e-6) / Math.max(all.seconds - start.seconds, 1e-3);
    return all.seconds > 2 * turn.ramp_s ? Math.max(since(none), since(ramp)) : since(none);
  };

  const fromBox = async (turn, ask, progress, stop) => {
    const found = { stalls: 0, longest: 0 };
    let last = 0;
    const mbit = await flow(turn, stop, progress, async (signal, moved) => {
      const answer = await ask("down", { signal });
      const reader = answer.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const now = performance.now();
        if (last && now - last > turn.stall_ms) {
          found.stalls += 1;
          found.longest = Math.max(found.longest, now - last);
        }
        last = now;
        moved(value.length);
      }
    });
    return { ...found, mbit };
  };

  const toBox = async (turn, ask, progress, stop, roundTrip) => {
    // 64 KiB, as many as it gives at once; a Blob, for a browser sends it twice as fast
    const some = crypto.getRandomValues(new Uint8Array(65536));
    const noise = new Blob(Array(Math.ceil(turn.chunk / some.length)).fill(some));
    await ask("echo"); // it waits for what of the streams from the box is still under way
    return flow(turn, stop, progress, async (signal, moved) => {
      let size = turn.first_chunk;
      let left = turn.stream_bytes / turn.lanes;
      while (size <= left) {
        const before = performance.now();
        await ask("up", { method: "POST", body: noise.slice(0, size), signal });
        left -= size;
        moved(size);
        if (performance.now() - before < roundTrip + turn.chunk_s * 1000) size = Math.min(turn.chunk, 2 * size);
      }
    });
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
      return work(turn, ask, (share) => { bar.value = (100 * (number + Math.min(1, share))) / 4; }, signal);
    };
    bar.hidden = false;
    const one = await step(0, "trips", oneByOne);
    const many = await step(1, "trips", atATime);
    const down = await step(2, "down", fromBox);
    const roundTrip = Math.min(...one);
    const up = await step(3, "up", (...all) => toBox(...all, roundTrip));
    const answer = await ask("result", {
      method: "POST",
      body: JSON.stringify({
        round_trips_ms: one,
        lane_trips_ms: many,
        down_mbit: down.mbit,
        up_mbit: up,
        stalls: down.stalls,
        longest_stall_ms: down.longest,
      }),
    });
    ticket = ""; // a result ends the turn
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
    leave();
    bar.hidden = true;
    running = null;
  });
})();
