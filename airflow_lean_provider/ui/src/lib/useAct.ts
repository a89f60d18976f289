import { useCallback, useState } from "react";

import { ApiError, send } from "../api/client";

/** `crypto.randomUUID` exists on secure origins only. */
export function requestKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** Send something that changes the world, once, and say how it goes. */
export function useAct<T>(done: (answer: T) => void) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string>();
  const act = useCallback(
    async (path: string, body: object = {}, method: "POST" | "PATCH" = "POST") => {
      setBusy(true);
      setProblem(undefined);
      try {
        done(await send<T>(path, body, { method }));
      } catch (error) {
        setProblem(error instanceof ApiError ? error.message : String(error));
      } finally {
        setBusy(false);
      }
    },
    [done],
  );
  return { act, busy, problem };
}
