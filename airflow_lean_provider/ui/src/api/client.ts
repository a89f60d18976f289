/** Requests to `/andon/v1` of the api-server that has served this page, also below a sub-path. */

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

type Query = Record<string, string | number | boolean | string[] | null | undefined>;

export function pathWith(path: string, query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "") parameters.append(name, String(one));
    }
  }
  return parameters.size > 0 ? `${path}?${parameters}` : path;
}

/** Say in one line what an error's body says: of Airflow's own shape, ours with a field, or pydantic's. */
export function messageOf(status: number, body: unknown): string {
  const detail = (body as { detail?: unknown } | null)?.detail;
  if (typeof detail === "string") return detail;
  if (Array.isArray(detail)) {
    return detail.map((d: { loc: unknown[]; msg: string }) => `${d.loc.slice(1).join(".")}: ${d.msg}`).join("; ");
  }
  if (detail && typeof detail === "object" && "message" in detail) return String(detail.message);
  return `The server answered with status ${status}`;
}

async function request<T>(path: string, init: RequestInit): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(new URL(`andon/v1${path}`, document.baseURI), { credentials: "same-origin", ...init });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError(0, "The server cannot be reached");
  }
  const body: unknown = await answer.json().catch(() => null);
  if (!answer.ok) throw new ApiError(answer.status, messageOf(answer.status, body));
  return body as T;
}

export const get = <T>(path: string, signal?: AbortSignal): Promise<T> => request<T>(path, { signal });

export const send = <T>(
  path: string,
  body: object = {},
  { method = "POST", signal }: { method?: "POST" | "PATCH"; signal?: AbortSignal } = {},
): Promise<T> =>
  request<T>(path, {
    method,
    signal,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
