"use strict";
// Sends an update to the box, piece by piece, and shows what becomes of it.
(() => {
  const PIECE = 65536;
  const form = document.getElementById("update");
  const told = document.getElementById("told");
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  const ask = async (secret, method, target, body) => {
    const answer = await fetch(target, { method, body, headers: { "X-Lanjami-Secret": secret } });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error);
    return said;
  };

  const send = async (secret, file) => {
    for (let at = 0; at < file.size; at += PIECE) {
      await ask(secret, "PUT", `/update/file?at=${at}&of=${file.size}`, file.slice(at, at + PIECE));
      told.textContent = `${Math.floor((100 * at) / file.size)} %`;
    }
    told.textContent = told.dataset.sent;
    for (let asked = await ask(secret, "GET", "/update/told"); ; asked = await ask(secret, "GET", "/update/told")) {
      if (!asked.waits) {
        told.textContent = asked.told.join(" ") || told.dataset.kept;
        return;
      }
      await pause(2000);
    }
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      await send(document.getElementById("secret").value.trim(), document.getElementById("file").files[0]);
    } catch (error) {
      // without a word from the box, it has begun to start anew, or is out of reach
      told.textContent = error instanceof TypeError ? told.dataset.lost : error.message;
    }
    button.disabled = false;
  });
})();
