import { Field, RadioGroup, Stack, Text, Textarea } from "@chakra-ui/react";
import { useState } from "react";

import type { Outcome, WhyReason } from "../api/types";
import { useAct } from "../lib/useAct";
import { keyText, OUTCOMES } from "../lib/words";
import { Dialogue } from "./Dialogue";

const CHOICES: Outcome[] = ["fixed", "false_alarm"];

/** Ends a bad version that has no natural end: a person says what the data is. */
export function DeclareDialog({ onClose, onDone, reason }: { readonly onClose: () => void; readonly onDone: () => void; readonly reason: WhyReason }) {
  const [outcome, setOutcome] = useState<Outcome>("fixed");
  const [text, setText] = useState("");
  const { act, busy, problem } = useAct<unknown>(() => {
    onDone();
    onClose();
  });
  const { asset, asset_id, partition_key } = reason;
  return (
    <Dialogue
      busy={busy}
      disabled={text.trim() === ""}
      go="Declare"
      onClose={onClose}
      onGo={() => void act("/partitions/declare", { asset_id, partition_key, outcome, reason: text })}
      problem={problem}
      title={`Declare ${asset} ${partition_key === null ? "" : keyText(partition_key)}`}
    >
      <Text mb={3}>Nothing is going to publish it again. You have looked at the data as it is now, and say what it is.</Text>
      <RadioGroup.Root aria-label="What is it?" mb={4} onValueChange={({ value }) => setOutcome(value as Outcome)} value={outcome}>
        <Stack gap={2}>
          {CHOICES.map((one) => (
            <RadioGroup.Item alignItems="start" key={one} value={one}>
              <RadioGroup.ItemHiddenInput />
              <RadioGroup.ItemIndicator mt={0.5} />
              <RadioGroup.ItemText>
                <Text fontWeight="medium">{OUTCOMES[one].text}</Text>
                <Text color="fg.muted" fontSize="sm">
                  {OUTCOMES[one].means}
                </Text>
              </RadioGroup.ItemText>
            </RadioGroup.Item>
          ))}
        </Stack>
      </RadioGroup.Root>
      <Field.Root required>
        <Field.Label>How do you know?</Field.Label>
        <Textarea maxLength={10_000} onChange={(event) => setText(event.target.value)} rows={2} value={text} />
      </Field.Root>
    </Dialogue>
  );
}
