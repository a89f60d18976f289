/** `crypto.randomUUID` exists on secure origins only. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** Return what gives the same body the same key, so that a repeated request is one, and another body another key. */
export function requestKeys(): (body: object) => string {
  const keys = new Map<string, string>();
  return (body) => {
    const said = JSON.stringify(body);
    const key = keys.get(said) ?? newKey();
    keys.set(said, key);
    return key;
  };
}
