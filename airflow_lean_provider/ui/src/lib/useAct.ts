import { useCallback, useRef, useState } from "react";

import { ApiError, send } from "../api/client";
import { requestKeys } from "./requestKeys";

/** One request key for each body, for as long as a dialog is open; see `requestKeys`. */
export function useRequestKeys(): (body: object) => string {
  const keys = useRef<(body: object) => string>(undefined);
  return (keys.current ??= requestKeys());
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
