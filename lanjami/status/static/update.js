"use strict";
// Sends an update in pieces, and follows what becomes of it. It decides nothing.
(() => {
  const main = document.querySelector("main");
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const TRIES = 40;

  // The page is drawn on the box; while it says that something moves, it is drawn anew.
  const follow = async () => {
    while (main.querySelector("[data-moving]")) {
      await pause(1000);
      const answer = await fetch(location.href, { cache: "no-store" }).catch(() => null);
      if (answer?.redirected) return location.replace(answer.url); // the box started again
      if (!answer?.ok) continue;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      main.replaceChildren(...page.querySelector("main").childNodes);
    }
    offer();
  };

  const offer = () => {
    const form = main.querySelector("form[data-piece]");
    if (!form) return;
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      send(form);
    });
  };

  const send = async (form) => {
    const { path, piece, lang, cut, waits, out, failed } = form.dataset;
    const [file] = form.elements.file.files;
    const csrf = form.elements.csrf.value;
    const [bar, said, button] = ["div", ".said", "button"].map((one) => form.querySelector(one));
    const progress = bar.querySelector("progress");
    const say = (sentence) => {
      said.textContent = sentence;
      said.hidden = !sentence;
    };
    const stay = (event) => event.preventDefault();
    const busy = (is) => {
      bar.hidden = !is;
      button.disabled = form.elements.file.disabled = is;
      (is ? addEventListener : removeEventListener)("beforeunload", stay);
    };
    // A line that is cut for a while: the box says how far it is, so all can be asked twice.
    const ask = async (what, body, headers = {}) => {
      for (let tries = 1; ; tries += 1) {
        const answer = await fetch(`${path}/${what}`, { method: "POST", body, headers }).catch(() => null);
        if (!answer && tries === TRIES) throw new Error(cut);
        if (!answer) {
          say(waits);
          await pause(1500);
          continue;
        }
        say("");
        const told = await answer.json().catch(() => null);
        if (answer.ok && told) return told;
        throw new Error(told?.error ?? (answer.status === 403 ? out : failed));
      }
    };
    say("");
    busy(true);
    try {
      const query = `lang=${lang}`;
      const form = (fields) => new URLSearchParams({ csrf, ...fields });
      const { token } = await ask(`begin?${query}`, form({ size: file.size }));
      const headers = { "X-CSRF": csrf, "Content-Type": "application/octet-stream" };
      for (let have = 0; have < file.size; progress.value = have / file.size) {
        const next = file.slice(have, have + Number(piece));
        ({ have } = await ask(`piece?${query}&token=${token}&at=${have}`, next, headers));
      }
      const { then } = await ask(`end?${query}`, form({ token }));
      busy(false);
      location.assign(then);
    } catch (error) {
      busy(false);
      say(error.message);
    }
  };

  follow();
})();
