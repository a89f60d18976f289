import { useCallback, useEffect, useRef, useState } from "react";

import { type ApiError, get } from "./client";

export const OFTEN = 5_000;
export const SELDOM = 30_000;

export type Loaded<T> = { data: T | undefined; error: ApiError | undefined; reload: () => void };

/**
 * Load an answer and load it again every so often, but not while nobody sees the page.
 *
 * @param path what is asked for; null asks for nothing
 * @param every milliseconds until it is asked again, given the last answer; 0 for never
 */
export function useLoad<T>(path: string | null, every: (data: T | undefined) => number = () => 0): Loaded<T> {
  const [state, setState] = useState<{ path: string | null; data?: T; error?: ApiError }>({ path });
  const [turn, setTurn] = useState(0);
  const period = useRef(every);
  period.current = every;

  useEffect(() => {
    if (path === null) return undefined;
    const leaving = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let current: T | undefined;

    const ask = async () => {
      clearTimeout(timer);
      try {
        const data = await get<T>(path, leaving.signal);
        current = data;
        setState({ path, data });
      } catch (error) {
        if (leaving.signal.aborted) return;
        setState((before) => ({ path, data: before.path === path ? before.data : undefined, error: error as ApiError }));
      }
      const pause = period.current(current);
      if (pause > 0 && !leaving.signal.aborted && !document.hidden) timer = setTimeout(ask, pause);
    };
    const seenAgain = () => {
      clearTimeout(timer);
      if (!document.hidden && period.current(current) > 0) void ask();
    };

    void ask();
    document.addEventListener("visibilitychange", seenAgain);
    return () => {
      leaving.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seenAgain);
    };
  }, [path, turn]);

  const reload = useCallback(() => setTurn((n) => n + 1), []);
  const own = state.path === path ? state : undefined;
  return { data: own?.data, error: own?.error, reload };
}
