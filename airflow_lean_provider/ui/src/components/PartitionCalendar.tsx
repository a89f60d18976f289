import { Box, Button, HStack, IconButton, SimpleGrid, Text, VisuallyHidden } from "@chakra-ui/react";
import { useEffect, useState } from "react";

import { get, pathWith } from "../api/client";
import type { Partition, PartitionState, Partitions } from "../api/types";
import { PAGE } from "../api/usePages";
import { dayOf, monthBeside, monthName, monthOf, weeksOf } from "../lib/calendar";
import { narrowed, toggled } from "../lib/selection";
import { STATES } from "../lib/words";
import { Problem } from "./basics";

const URGENT: PartitionState[] = ["halted", "bad", "warned", "withdrawn", "clean"];
const PAGES_OF_A_MONTH = 12;

async function load(assetId: number, month: string): Promise<Map<string, Partition[]>> {
  const page = (offset: number) =>
    get<Partitions>(pathWith(`/assets/${assetId}/partitions`, { prefix: month, limit: PAGE, offset, order_by: "partition_key" }));
  const first = await page(0);
  const offsets = [];
  for (let offset = PAGE; offset < Math.min(first.total_entries, PAGE * PAGES_OF_A_MONTH); offset += PAGE) offsets.push(offset);
  const all = [first, ...(await Promise.all(offsets.map(page)))].flatMap((answer) => answer.partitions);
  const days = new Map<string, Partition[]>();
  for (const partition of all) {
    const day = partition.partition_key === null ? null : dayOf(partition.partition_key);
    if (day !== null) days.set(day, [...(days.get(day) ?? []), partition]);
  }
  return days;
}

const keysOf = (partitions: readonly Partition[]) => partitions.flatMap((p) => (p.partition_key === null ? [] : [p.partition_key]));

/** Partitions whose keys begin with a day, month by month; a day with several can be picked as a whole or one by one. */
export function PartitionCalendar({
  assetId,
  latest,
  onChange,
  picked,
  selected,
}: {
  readonly assetId: number;
  readonly latest: string;
  readonly onChange: (keys: ReadonlySet<string>) => void;
  readonly picked: ReadonlySet<string>;
  readonly selected: ReadonlySet<string>;
}) {
  const [month, setMonth] = useState(monthOf(latest));
  const [days, setDays] = useState<Map<string, Partition[]>>();
  const [failed, setFailed] = useState(false);
  const [day, setDay] = useState(latest);
  useEffect(() => {
    let left = false;
    setDays(undefined);
    setFailed(false);
    load(assetId, month).then(
      (found) => !left && setDays(found),
      () => !left && setFailed(true),
    );
    return () => {
      left = true;
    };
  }, [assetId, month]);
  const ofDay = days?.get(day) ?? [];

  return (
    <Box>
      <HStack justify="space-between" mb={1}>
        <IconButton aria-label="Month before" onClick={() => setMonth(monthBeside(month, -1))} size="xs" variant="ghost">
          ‹
        </IconButton>
        <Text aria-live="polite" fontWeight="medium">
          {monthName(month)}
        </Text>
        <IconButton aria-label="Month after" onClick={() => setMonth(monthBeside(month, 1))} size="xs" variant="ghost">
          ›
        </IconButton>
      </HStack>
      {failed ? <Problem>The partitions of this month cannot be loaded.</Problem> : null}
      <SimpleGrid aria-busy={days === undefined && !failed} columns={7} gap={1} opacity={days === undefined ? 0.5 : 1}>
        {["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"].map((name) => (
          <Text color="fg.muted" fontSize="xs" key={name} textAlign="center">
            {name}
          </Text>
        ))}
        {weeksOf(month)
          .flat()
          .map((date, index) => {
            if (date === null) return <Box key={index} />;
            const partitions = days?.get(date) ?? [];
            const keys = keysOf(partitions);
            const within = keys.filter((key) => selected.has(key)).length;
            const state = URGENT.find((one) => partitions.some((p) => p.state === one)) ?? "clean";
            const all = within > 0 && within === keys.length;
            return (
              <Button
                aria-pressed={all}
                colorPalette={state === "clean" ? "gray" : STATES[state].palette}
                disabled={keys.length === 0}
                flexDirection="column"
                gap={0}
                height="2.35rem"
                key={index}
                minW={0}
                onClick={() => {
                  onChange(toggled(picked, keys));
                  setDay(date);
                }}
                outline={within > 0 ? "2px solid" : undefined}
                outlineColor="blue.solid"
                px={0}
                size="xs"
                variant={all ? "solid" : keys.length === 0 ? "plain" : "subtle"}
              >
                <Text as="span">
                  {Number(date.slice(8))}
                  <VisuallyHidden> {monthName(month)}: </VisuallyHidden>
                </Text>
                {keys.length > 1 ? (
                  <Text as="span" fontSize="2xs" lineHeight={1}>
                    {within > 0 && !all ? `${within} of ` : ""}
                    {keys.length}
                    <VisuallyHidden> partitions, {STATES[state].text}</VisuallyHidden>
                  </Text>
                ) : (
                  <VisuallyHidden>{failed ? "unknown" : days === undefined ? "loading" : keys.length === 0 ? "not published" : `1 partition, ${STATES[state].text}`}</VisuallyHidden>
                )}
              </Button>
            );
          })}
      </SimpleGrid>
      {ofDay.length > 1 ? (
        <HStack aria-label={`Partitions of ${day}`} gap={1} mt={2} role="group" wrap="wrap">
          {keysOf(ofDay).map((key) => (
            <Button
              aria-pressed={selected.has(key)}
              fontFamily="mono"
              key={key}
              onClick={() => onChange(narrowed(picked, keysOf(ofDay), key))}
              size="2xs"
              variant={selected.has(key) ? "solid" : "outline"}
            >
              <span>
                <VisuallyHidden>{key.slice(0, 10)}</VisuallyHidden>
                {key.slice(10)}
              </span>
            </Button>
          ))}
        </HStack>
      ) : null}
    </Box>
  );
}
