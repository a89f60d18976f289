import { Box, Button, Field, HStack, Input, SegmentGroup, Text, Textarea } from "@chakra-ui/react";
import { useEffect, useState } from "react";

import { pathWith } from "../api/client";
import type { Partitions } from "../api/types";
import { useLoad } from "../api/useLoad";
import { dayOf } from "../lib/calendar";
import { keysIn, pickedIn, type Selection } from "../lib/selection";
import { count } from "../lib/words";
import { Problem, Waiting } from "./basics";
import { PartitionCalendar } from "./PartitionCalendar";
import { PartitionList } from "./PartitionList";

const WAYS = {
  calendar: "Calendar",
  list: "List",
  range: "Range",
  text: "Paste",
  later: "And later",
} as const;
type Way = keyof typeof WAYS;

/** Which partitions of an asset: proposed is the newest one; on a calendar, in a list, a range, free text, or also what is published later. */
export function PartitionPicker({
  assetId,
  onChange,
  selection,
}: {
  readonly assetId: number;
  readonly onChange: (selection: Selection) => void;
  readonly selection: Selection;
}) {
  const latest = useLoad<Partitions>(pathWith(`/assets/${assetId}/partitions`, { limit: 10, order_by: ["-published_at", "-partition_key"] }));
  const [chosen, setChosen] = useState<Way>();
  const first = latest.data?.partitions.find(({ partition_key: key }) => key !== null);
  const newest = first?.published_at ? first.partition_key : undefined;
  useEffect(() => {
    if (newest) onChange({ by: "keys", keys: new Set([newest]), proposed: true });
  }, [newest, onChange]);
  if (latest.error) return <Problem title="The partitions cannot be loaded">{latest.error.message}</Problem>;
  if (latest.data === undefined) return <Waiting height="15rem" what="partitions" />;
  if (latest.data.total_entries === 1 && first === undefined) return <WithoutKeys onChange={onChange} selection={selection} />;

  const day = first?.partition_key ? dayOf(first.partition_key) : null;
  const ways = (Object.keys(WAYS) as Way[]).filter((one) => one !== "calendar" || day !== null);
  const way = chosen ?? ways[0];
  const keys: ReadonlySet<string> = selection.by === "keys" ? selection.keys : new Set();
  const picked = pickedIn(selection);
  const pick = (next: ReadonlySet<string>) => onChange({ by: "keys", keys: next });
  const turnTo = (next: Way) => {
    setChosen(next);
    if ((next === "calendar" || next === "list") && selection.by !== "keys") pick(keys);
    if (next === "range") onChange({ by: "range", first: "", last: "" });
    if (next === "text") onChange({ by: "text", text: [...picked].join("\n") });
    if (next === "later") onChange({ by: "from", from: "" });
  };

  return (
    <Box>
      <HStack justify="space-between" mb={2} wrap="wrap">
        <SegmentGroup.Root onValueChange={({ value }) => value && turnTo(value as Way)} size="sm" value={way}>
          <SegmentGroup.Indicator />
          {ways.map((one) => (
            <SegmentGroup.Item key={one} value={one}>
              <SegmentGroup.ItemText>{WAYS[one]}</SegmentGroup.ItemText>
              <SegmentGroup.ItemHiddenInput />
            </SegmentGroup.Item>
          ))}
        </SegmentGroup.Root>
        {keys.size > 0 ? (
          <Button onClick={() => pick(new Set())} size="xs" variant="ghost">
            {keys.size === 1 ? [...keys][0] : `${keys.size.toLocaleString("en")} selected`} ✕
          </Button>
        ) : null}
      </HStack>
      {way === "calendar" && day !== null ? <PartitionCalendar assetId={assetId} latest={day} onChange={pick} picked={picked} selected={keys} /> : null}
      {way === "list" ? <PartitionList assetId={assetId} onChange={pick} picked={picked} selected={keys} /> : null}
      {way === "range" && selection.by === "range" ? (
        <HStack align="start" gap={3}>
          <Field.Root>
            <Field.Label>First key</Field.Label>
            <Input fontFamily="mono" onChange={(event) => onChange({ ...selection, first: event.target.value })} size="sm" value={selection.first} />
          </Field.Root>
          <Field.Root>
            <Field.Label>Last key</Field.Label>
            <Input fontFamily="mono" onChange={(event) => onChange({ ...selection, last: event.target.value })} size="sm" value={selection.last} />
            <Field.HelperText>Both included.</Field.HelperText>
          </Field.Root>
        </HStack>
      ) : null}
      {way === "text" && selection.by === "text" ? (
        <Field.Root>
          <Field.Label>Keys, one a line or set apart by commas</Field.Label>
          <Textarea fontFamily="mono" fontSize="sm" onChange={(event) => onChange({ by: "text", text: event.target.value })} rows={7} value={selection.text} />
          <Field.HelperText>{count(keysIn(selection.text).length, "key")}</Field.HelperText>
        </Field.Root>
      ) : null}
      {way === "later" ? <Later onChange={onChange} selection={selection} /> : null}
    </Box>
  );
}

function WithoutKeys({ onChange, selection }: { readonly onChange: (selection: Selection) => void; readonly selection: Selection }) {
  if (selection.by !== "whole") queueMicrotask(() => onChange({ by: "whole" }));
  return <Text color="fg.muted">This asset has no partitions: it is meant as a whole.</Text>;
}

function Later({ onChange, selection }: { readonly onChange: (selection: Selection) => void; readonly selection: Selection }) {
  return (
    <Box>
      <Text color="fg.muted" fontSize="sm" mb={2}>
        Also covers what is published from now on, until somebody ends it.
      </Text>
      <HStack align="start" gap={3} wrap="wrap">
        <Field.Root flex={1} minW="12rem">
          <Field.Label>From this key on</Field.Label>
          <Input
            fontFamily="mono"
            onChange={(event) => onChange({ by: "from", from: event.target.value })}
            size="sm"
            value={selection.by === "from" ? selection.from : ""}
          />
        </Field.Root>
        <Field.Root flex={1} minW="12rem">
          <Field.Label>or keys like</Field.Label>
          <Input
            fontFamily="mono"
            onChange={(event) => onChange({ by: "pattern", pattern: event.target.value })}
            placeholder="eu*"
            size="sm"
            value={selection.by === "pattern" ? selection.pattern : ""}
          />
        </Field.Root>
      </HStack>
      <Button aria-pressed={selection.by === "all"} mt={3} onClick={() => onChange({ by: "all" })} size="sm" variant={selection.by === "all" ? "solid" : "outline"}>
        The whole asset
      </Button>
    </Box>
  );
}
