import { Button, Field, HStack, Text, Textarea } from "@chakra-ui/react";
import { useState } from "react";

import type { Cord } from "../api/types";
import { useAct } from "../lib/useAct";
import { Problem } from "./basics";
import { Dialogue } from "./Dialogue";
import { ReleaseDialog } from "./ReleaseDialog";

/** Narrow enough on a phone for three buttons beside each other. */
const PADDING = { base: 2.5, sm: 3.5 };

type Step = "release" | "edit" | "raise" | undefined;

/** What the caller may do to a cord, and nothing else. */
export function CordActions({ cord, everything, onDone }: { readonly cord: Cord; readonly everything?: boolean; readonly onDone: () => void }) {
  const [step, setStep] = useState<Step>();
  const acknowledging = useAct<Cord>(onDone);
  const close = () => setStep(undefined);
  const { acknowledge, edit, raise_to_stop: raise, release } = cord.may;

  return (
    <>
      <HStack gap={2} wrap="wrap">
        {acknowledge ? (
          <Button
            colorPalette="brand"
            loading={acknowledging.busy}
            onClick={() => void acknowledging.act(`/cords/${cord.cord_id}/acknowledge`)}
            px={PADDING}
            size="sm"
          >
            I am on it
          </Button>
        ) : null}
        <RepairCord cord={cord} onDone={onDone} />
        {release ? (
          <Button onClick={() => setStep("release")} px={PADDING} size="sm" variant="outline">
            Release
          </Button>
        ) : null}
        {everything && raise ? (
          <Button onClick={() => setStep("raise")} size="sm" variant="outline">
            Raise to stop
          </Button>
        ) : null}
        {everything && edit ? (
          <Button onClick={() => setStep("edit")} size="sm" variant="ghost">
            Edit the reason
          </Button>
        ) : null}
      </HStack>
      {acknowledging.problem === undefined ? null : <Problem>{acknowledging.problem}</Problem>}
      {step === "release" ? <ReleaseDialog cord={cord} onClose={close} onDone={onDone} /> : null}
      {step === "raise" ? (
        <Confirm
          go="Stop the line"
          onClose={close}
          onDone={onDone}
          path={`/cords/${cord.cord_id}/raise`}
          title={`Raise cord ${cord.cord_id} to stop`}
        >
          So far it only warns. From then on, whatever would read these partitions is held, and what reads them now is stopped.
        </Confirm>
      ) : null}
      {step === "edit" ? <EditReason cord={cord} onClose={close} onDone={onDone} /> : null}
    </>
  );
}

/** The button that repairs, for whoever may. */
export function RepairCord({ cord, onDone, small }: { readonly cord: Cord; readonly onDone: () => void; readonly small?: boolean }) {
  const [asking, setAsking] = useState(false);
  if (!cord.may.repair && !asking) return null;
  return (
    <>
      <Button onClick={() => setAsking(true)} px={PADDING} size={small ? "xs" : "sm"} variant="outline">
        Repair
      </Button>
      {asking ? (
        <Confirm
          go="Repair"
          onClose={() => setAsking(false)}
          onDone={onDone}
          path={`/cords/${cord.cord_id}/repair`}
          title={`Repair cord ${cord.cord_id}`}
        >
          The tasks that published the bad partitions run again. Once they have published, the cord is released as fixed, and whatever
          has read the bad data runs again, in order, by itself.
        </Confirm>
      ) : null}
    </>
  );
}

function Confirm({
  children,
  go,
  onClose,
  onDone,
  path,
  title,
}: {
  readonly children: React.ReactNode;
  readonly go: string;
  readonly onClose: () => void;
  readonly onDone: () => void;
  readonly path: string;
  readonly title: string;
}) {
  const { act, busy, problem } = useAct<Cord>(() => {
    onDone();
    onClose();
  });
  return (
    <Dialogue busy={busy} go={go} onClose={onClose} onGo={() => void act(path)} problem={problem} title={title}>
      <Text>{children}</Text>
    </Dialogue>
  );
}

function EditReason({ cord, onClose, onDone }: { readonly cord: Cord; readonly onClose: () => void; readonly onDone: () => void }) {
  const [reason, setReason] = useState(cord.reason);
  const { act, busy, problem } = useAct<Cord>(() => {
    onDone();
    onClose();
  });
  return (
    <Dialogue
      busy={busy}
      disabled={reason.trim() === ""}
      go="Save"
      onClose={onClose}
      onGo={() => void act(`/cords/${cord.cord_id}`, { reason }, "PATCH")}
      problem={problem}
      title="Edit the reason"
    >
      <Field.Root>
        <Field.Label>What is wrong?</Field.Label>
        <Textarea maxLength={10_000} onChange={(event) => setReason(event.target.value)} rows={4} value={reason} />
      </Field.Root>
    </Dialogue>
  );
}
