// Parts of a page: asked for, and put in place of what is there without losing focus, selection or scroll.

export const byId = (id) => document.getElementById(id);

const PATIENCE = 15000;

/** The session has ended: the server says so, or leads to its login page. */
export class SignedOut extends Error {}

/** The answer. Throws SignedOut, or an Error where the server could not answer. */
export async function ask(address, options = {}) {
  const answer = await fetch(address, {
    headers: { "HX-Request": "true" },
    signal: AbortSignal.timeout(PATIENCE),
    ...options,
  });
  if (answer.redirected || answer.status === 401) throw new SignedOut();
  if (answer.status === 404 || answer.status >= 500) throw new Error(`${answer.status}`);
  return answer;
}

/** Each element of `html` with an id takes the place of the one that has it. */
export function place(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  for (const fresh of [...template.content.children]) {
    const there = fresh.id && byId(fresh.id);
    if (there) morph(there, fresh);
  }
}

/** What a person has opened stays open. */
export function morph(there, fresh) {
  Idiomorph.morph(there, fresh, {
    morphStyle: "outerHTML",
    callbacks: { beforeAttributeUpdated: (name, node) => !(name === "open" && node.tagName === "DETAILS") },
  });
}
