import { Box, HStack, Input, Text } from "@chakra-ui/react";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useRef, useState } from "react";

import { PAGE, usePages } from "../api/usePages";
import { toggled } from "../lib/selection";
import { ago, count } from "../lib/words";
import { StateTag, WIDE_KEY } from "./basics";

const ROW = 36;

/** The published partitions of an asset, the latest key first; only what is seen is loaded and drawn. */
export function PartitionList({
  assetId,
  onChange,
  picked,
  selected,
}: {
  readonly assetId: number;
  readonly onChange: (keys: ReadonlySet<string>) => void;
  readonly picked: ReadonlySet<string>;
  readonly selected: ReadonlySet<string>;
}) {
  const [text, setText] = useState("");
  const { ask, between, row, total } = usePages(assetId, text);
  const scroller = useRef<HTMLDivElement>(null);
  const last = useRef<number>(undefined);
  const rows = useVirtualizer({
    count: total ?? 0,
    estimateSize: () => ROW,
    getScrollElement: () => scroller.current,
    overscan: 8,
  });
  const shown = rows.getVirtualItems();
  const [from, to] = [shown[0]?.index ?? 0, shown.at(-1)?.index ?? 0];
  useEffect(() => {
    if (total === undefined || total === 0) return undefined;
    const timer = setTimeout(() => {
      void ask(Math.floor(from / PAGE));
      void ask(Math.floor(to / PAGE));
    }, 60);
    return () => clearTimeout(timer);
  }, [ask, from, to, total]);

  const pick = async (index: number, key: string, extend: boolean) => {
    if (extend && last.current !== undefined) {
      const found = await between(Math.min(last.current, index), Math.max(last.current, index));
      onChange(new Set([...picked, ...found.flatMap((p) => (p.partition_key === null ? [] : [p.partition_key]))]));
    } else {
      onChange(toggled(picked, [key]));
    }
    last.current = index;
  };

  return (
    <Box>
      <HStack mb={2}>
        <Input aria-label="Find partitions" onChange={(event) => setText(event.target.value)} placeholder="Find partitions" size="sm" value={text} />
        <Text aria-live="polite" color="fg.muted" flexShrink={0} fontSize="sm">
          {total === undefined ? "…" : count(total, "partition")}
        </Text>
      </HStack>
      <Box borderRadius="md" borderWidth={1} height="15rem" overflowY="auto" ref={scroller} role="group" aria-label="Partitions">
        <Box height={`${rows.getTotalSize()}px`} position="relative">
          {shown.map(({ index, start }) => {
            const partition = row(index);
            const key = partition?.partition_key;
            return (
              <HStack
                _hover={{ bg: "bg.muted" }}
                as="label"
                cursor="pointer"
                height={`${ROW}px`}
                key={index}
                position="absolute"
                px={3}
                top={`${start}px`}
                width="100%"
              >
                {partition === undefined || key === undefined || key === null ? (
                  <Text color="fg.muted">…</Text>
                ) : (
                  <>
                    <input
                      checked={selected.has(key)}
                      onChange={(event) => void pick(index, key, (event.nativeEvent as MouseEvent).shiftKey)}
                      type="checkbox"
                    />
                    <Text {...WIDE_KEY} flex={1} truncate title={key}>
                      {key}
                    </Text>
                    {partition.state === "clean" ? null : <StateTag state={partition.state} />}
                    <Text color="fg.muted" flexShrink={0} fontSize="xs" hideBelow="sm">
                      {partition.published_at === null ? "not published" : ago(partition.published_at)}
                    </Text>
                  </>
                )}
              </HStack>
            );
          })}
        </Box>
        {total === 0 ? (
          <Text color="fg.muted" p={3}>
            {text === "" ? "Nothing was published yet." : "No partition has this in its key."}
          </Text>
        ) : null}
      </Box>
      <Text color="fg.muted" fontSize="xs" mt={1}>
        Shift and click selects all between two partitions.
      </Text>
    </Box>
  );
}
