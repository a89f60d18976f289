import { useCallback, useEffect, useRef, useState } from "react";

import { get, pathWith } from "./client";
import type { Partition, Partitions } from "./types";

/** Rows that one request brings: what `[api] maximum_page_limit` lets through by default. */
export const PAGE = 100;

/** The partitions of an asset, page by page as they are looked at. */
export function usePages(assetId: number, text: string) {
  const [pages, setPages] = useState<ReadonlyMap<number, Partition[]>>(new Map());
  const [total, setTotal] = useState<number>();
  const asked = useRef(new Map<number, Promise<Partition[]>>());
  const generation = useRef(0);

  const ask = useCallback(
    (page: number): Promise<Partition[]> => {
      const running = asked.current.get(page);
      if (running) return running;
      const mine = generation.current;
      const answer = get<Partitions>(
        pathWith(`/assets/${assetId}/partitions`, { text, limit: PAGE, offset: page * PAGE, order_by: "-partition_key" }),
      ).then((found) => {
        if (mine === generation.current) {
          setTotal(found.total_entries);
          setPages((before) => new Map(before).set(page, found.partitions));
        }
        return found.partitions;
      });
      answer.catch(() => asked.current.delete(page));
      asked.current.set(page, answer);
      return answer;
    },
    [assetId, text],
  );

  useEffect(() => {
    generation.current += 1;
    asked.current = new Map();
    setPages(new Map());
    setTotal(undefined);
    const timer = setTimeout(() => void ask(0).catch(() => setTotal(0)), text === "" ? 0 : 200);
    return () => clearTimeout(timer);
  }, [ask, text]);

  const row = (index: number): Partition | undefined => pages.get(Math.floor(index / PAGE))?.[index % PAGE];

  /** Load the rows from the first to the last, both included. */
  const between = useCallback(
    async (first: number, last: number): Promise<Partition[]> => {
      const found: Partition[] = [];
      for (let page = Math.floor(first / PAGE); page <= Math.floor(last / PAGE); page += 1) {
        found.push(...(await ask(page)));
      }
      return found.slice(first % PAGE, (first % PAGE) + last - first + 1);
    },
    [ask],
  );

  return { ask, between, row, total };
}
