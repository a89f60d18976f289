import { Box, Checkbox, Field, Input, RadioGroup, Stack, Text, Textarea } from "@chakra-ui/react";
import { useState } from "react";

import { pathWith } from "../api/client";
import type { Cord, CordPartitions, Outcome } from "../api/types";
import { useLoad } from "../api/useLoad";
import { idOf, partitionOf, toggled } from "../lib/selection";
import { useAct, useRequestKeys } from "../lib/useAct";
import { count, keyText, OUTCOMES } from "../lib/words";
import { Problem, WIDE_KEY } from "./basics";
import { Dialogue } from "./Dialogue";

/** Ends a cord on all of its partitions or on some: how, and with which note. */
export function ReleaseDialog({ cord, onClose, onDone }: { readonly cord: Cord; readonly onClose: () => void; readonly onDone: () => void }) {
  const [outcome, setOutcome] = useState<Outcome>("fixed");
  const [note, setNote] = useState("");
  const [some, setSome] = useState(false);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [later, setLater] = useState(false);
  const [now, setNow] = useState(false);
  const [keepScope, setKeepScope] = useState(false);
  const keyFor = useRequestKeys();
  const scoped = cord.scopes.some((scope) => scope.ended_at === null);
  const { act, busy, problem } = useAct<Cord>(() => {
    onDone();
    onClose();
  });
  const release = () => {
    const body = {
      outcome,
      ...(some ? { of: [...chosen].sort().map(partitionOf) } : {}),
      note: note.trim() || null,
      on_publication: outcome === "fixed" && later,
      now: outcome === "fixed" && !later && now,
      keep_scope: scoped && keepScope,
    };
    return act(`/cords/${cord.cord_id}/release`, { ...body, request_key: keyFor(body) });
  };

  return (
    <Dialogue
      busy={busy}
      disabled={some && chosen.size === 0}
      go={some ? `Release ${count(chosen.size, "partition")}` : "Release"}
      onClose={onClose}
      onGo={() => void release()}
      problem={problem}
      size="lg"
      title={`Release cord ${cord.cord_id}`}
    >
      <Stack gap={5}>
        <RadioGroup.Root aria-label="How it ends" onValueChange={({ value }) => setOutcome(value as Outcome)} value={outcome}>
          <Stack gap={3}>
            {(Object.keys(OUTCOMES) as Outcome[]).map((one) => (
              <RadioGroup.Item alignItems="start" key={one} value={one}>
                <RadioGroup.ItemHiddenInput />
                <RadioGroup.ItemIndicator mt={1} />
                <RadioGroup.ItemText>
                  {OUTCOMES[one].text}
                  <Text as="span" color="fg.muted" display="block" fontSize="sm" fontWeight="normal">
                    {OUTCOMES[one].means}
                  </Text>
                </RadioGroup.ItemText>
              </RadioGroup.Item>
            ))}
          </Stack>
        </RadioGroup.Root>
        {cord.partitions_open > 1 ? (
          <Box>
            <Check checked={some} onChange={setSome}>
              Only some of its {count(cord.partitions_open, "open partition")}
            </Check>
            {some ? <OpenPartitions chosen={chosen} cordId={cord.cord_id} onChange={setChosen} /> : null}
          </Box>
        ) : null}
        {outcome === "fixed" ? (
          <Stack gap={2}>
            <Check checked={later} onChange={setLater}>
              Not yet: once it is published again
            </Check>
            {later ? null : (
              <Check checked={now} onChange={setNow}>
                At once, without waiting for tasks that still publish it
              </Check>
            )}
          </Stack>
        ) : null}
        {scoped ? (
          <Check checked={keepScope} onChange={setKeepScope}>
            Go on covering what is published later
          </Check>
        ) : null}
        <Field.Root>
          <Field.Label>Note</Field.Label>
          <Textarea maxLength={10_000} onChange={(event) => setNote(event.target.value)} placeholder="What was it?" rows={2} value={note} />
        </Field.Root>
      </Stack>
    </Dialogue>
  );
}

function Check({ checked, children, onChange }: { readonly checked: boolean; readonly children: React.ReactNode; readonly onChange: (checked: boolean) => void }) {
  return (
    <Checkbox.Root checked={checked} onCheckedChange={(details) => onChange(details.checked === true)} size="sm">
      <Checkbox.HiddenInput />
      <Checkbox.Control />
      <Checkbox.Label>{children}</Checkbox.Label>
    </Checkbox.Root>
  );
}

function OpenPartitions({
  chosen,
  cordId,
  onChange,
}: {
  readonly chosen: ReadonlySet<string>;
  readonly cordId: number;
  readonly onChange: (chosen: ReadonlySet<string>) => void;
}) {
  const [text, setText] = useState("");
  const { data, error } = useLoad<CordPartitions>(pathWith(`/cords/${cordId}/partitions`, { open: true, text, limit: 100, order_by: "partition_key" }));
  if (error) return <Problem>{error.message}</Problem>;
  return (
    <Box borderRadius="md" borderWidth={1} mt={2} p={2}>
      <Input aria-label="Find partitions" mb={2} onChange={(event) => setText(event.target.value)} placeholder="Find partitions" size="sm" value={text} />
      <Box maxH="12rem" overflowY="auto">
        {data?.partitions.map((partition) => {
          const id = idOf(partition);
          return (
            <Box as="label" cursor="pointer" display="block" key={id} py={0.5}>
              <input checked={chosen.has(id)} onChange={() => onChange(toggled(chosen, [id]))} type="checkbox" />{" "}
              <Text as="span" {...WIDE_KEY}>
                {keyText(partition.partition_key)}
              </Text>{" "}
              <Text as="span" color="fg.muted" fontSize="sm">
                {partition.asset}
              </Text>
            </Box>
          );
        })}
      </Box>
      {data && data.total_entries > data.partitions.length ? (
        <Text color="fg.muted" fontSize="sm">
          and {data.total_entries - data.partitions.length} more: type a part of the key
        </Text>
      ) : null}
    </Box>
  );
}
