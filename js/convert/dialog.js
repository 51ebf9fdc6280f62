/** A small dialog: a list of sentences, and at most two buttons. */

/**
 * @param {object} content
 * @param {string} content.title
 * @param {string} content.intro
 * @param {string[]} content.sentences
 * @param {string} content.close what the button that changes nothing says
 * @param {string | null} content.confirm what the other one says; none where null
 * @returns {Promise<boolean>} whether it was the other one
 */
export function ask({ title, intro, sentences, close, confirm }) {
  const dialog = document.createElement("dialog");
  dialog.className = "tstitch-dialog";
  const heading = element("h2", title);
  const list = document.createElement("ul");
  list.append(...sentences.map((sentence) => element("li", sentence)));
  const buttons = document.createElement("div");
  buttons.className = "tstitch-buttons";
  const no = element("button", close);
  buttons.append(no);
  const yes = confirm === null ? null : element("button", confirm);
  if (yes) {
    yes.className = "tstitch-confirm";
    buttons.append(yes);
  }
  heading.id = "tstitch-dialog-title";
  dialog.setAttribute("aria-labelledby", heading.id);
  dialog.append(styles(), heading, ...(intro ? [element("p", intro)] : []), list, buttons);
  // The page takes keys that are typed outside of text boxes for commands.
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  document.body.append(dialog);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    no.addEventListener("click", () => dialog.close("no"));
    yes?.addEventListener("click", () => dialog.close("yes"));
    dialog.showModal();
    no.focus();
  });
}

/**
 * @param {string} tag
 * @param {string} text
 */
function element(tag, text) {
  return Object.assign(document.createElement(tag), { textContent: text });
}

function styles() {
  const link = document.createElement("link");
  return Object.assign(link, { rel: "stylesheet", href: new URL("./dialog.css", import.meta.url).href });
}
