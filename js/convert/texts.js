/** The sentences of a conversion in the page's language. */

import { api } from "../../../scripts/api.js";

/** @type {Promise<Record<string, any>> | null} */
let all = null;

/**
 * Of locales/<language>/main.json; what is missing there is said in English.
 * @param {string} language
 * @returns {Promise<Record<string, string>>}
 */
export async function textsIn(language) {
  if (language === "en") {
    return {};
  }
  all ??= api.fetchApi("/i18n").then(
    (answer) => answer.json(),
    () => ({}),
  );
  return (await all)[language]?.tstitch?.convert ?? {};
}
