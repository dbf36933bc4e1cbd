"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const heatMaps = document.body.dataset.heat === "true";
  let asked = 0; // counts pictures and heat maps: an answer to an earlier question is dropped
  let chosen = null;

  const say = (text) => { at("status").textContent = text; };
  const complain = (text) => { say(""); at("problem").textContent = text; };
  const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)}\u00a0%`);

  async function post(address, file) {
    let answer;
    try {
      const headers = { "Content-Type": file.type.startsWith("image/") ? file.type : "application/octet-stream" };
      answer = await fetch(address, { method: "POST", headers, body: file });
    } catch {
      throw new Error("The server does not answer. Is it still running?");
    }
    const content = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(content.error || `The server answered ${answer.status}`);
    return content;
  }

  function showPicture(file) {
    const picture = at("picture");
    if (picture.src.startsWith("blob:")) URL.revokeObjectURL(picture.src);
    at("picture-figure").hidden = false;
    picture.onerror = () => { at("picture-figure").hidden = true; }; // a format that the browser does not show
    picture.src = URL.createObjectURL(file);
    at("picture-name").textContent = file.name || "";
  }

  function showClasses(predictions) {
    const rows = predictions.map((entry) => {
      const row = document.createElement("li");
      const button = document.createElement("button");
      const name = document.createElement("span");
      const number = document.createElement("span");
      const bar = document.createElement("span");
      const filled = document.createElement("span");
      button.type = "button";
      button.disabled = !heatMaps;
      button.dataset.name = entry.class;
      name.className = "name";
      name.textContent = entry.class;
      number.className = "number";
      number.textContent = percent(entry.probability);
      bar.className = "bar";
      bar.setAttribute("aria-hidden", "true");
      filled.style.width = `${100 * (entry.probability || 0)}%`;
      bar.append(filled);
      button.append(name, " ", number, bar);
      if (heatMaps) {
        button.setAttribute("aria-pressed", "false");
        button.addEventListener("click", () => explain(entry.class));
      }
      row.append(button);
      return row;
    });
    at("classes").replaceChildren(...rows);
  }

  // Its bytes, at once: the file may be gone or another one when a heat map is asked for.
  async function read(file) {
    let content;
    try {
      content = await file.arrayBuffer();
    } catch {
      throw new Error(`${file.name || "It"} cannot be read. Is it a folder? Drop one picture`);
    }
    if (!content.byteLength) throw new Error(`${file.name || "The file"} is empty`);
    return new Blob([content], { type: file.type });
  }

  async function classify(file, others) {
    const question = ++asked;
    at("problem").textContent = "";
    at("answer").hidden = true;
    say("Looking at the picture …");
    try {
      const picture = await read(file);
      if (question !== asked) return;
      chosen = picture;
      const { results: [result] } = await post("predict", picture);
      if (question !== asked) return;
      if (result.predictions[0].probability === null) throw new Error("The network's output is not a number");
      showPicture(file);
      showClasses(result.predictions);
      at("answer").hidden = false;
      const rest = others ? `. One picture at a time: ${others} more not looked at` : "";
      say(`${result.predictions[0].class}: ${percent(result.predictions[0].probability)}${rest}`);
      if (heatMaps) await explain(result.predictions[0].class);
    } catch (error) {
      if (question === asked) complain(error.message);
    }
  }

  async function explain(name) {
    const question = ++asked;
    for (const button of at("classes").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.name === name));
    }
    at("heat").hidden = true;
    at("heat-caption").textContent = "Computing the heat map …";
    try {
      const content = await post(`explain?class=${encodeURIComponent(name)}`, chosen);
      if (question !== asked) return;
      at("heat").src = content.picture;
      at("heat").alt = `The picture under its heat map: bright places speak for ${name}`;
      at("heat").hidden = false;
      at("heat-caption").textContent = content.nothing_speaks_for_it
        ? `Nothing speaks for ${name}.`
        : `Bright places speak for ${name} (Grad-CAM). This is what the network used, not whether it is right.`;
    } catch (error) {
      if (question === asked) at("heat-caption").textContent = error.message;
    }
  }

  function take(files) {
    if (files.length) classify(files[0], files.length - 1);
  }

  at("file").addEventListener("change", (event) => {
    take(event.target.files);
    event.target.value = ""; // so that the same picture can be chosen again
  });
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
  document.addEventListener("dragover", (event) => {
    event.preventDefault(); // else the browser would open the picture in place of the page
    at("drop").classList.add("over");
  });
  document.addEventListener("dragleave", () => at("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    at("drop").classList.remove("over");
    take(event.dataTransfer.files);
  });
})();
