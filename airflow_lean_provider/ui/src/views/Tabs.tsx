import { Box, Button, Field, Heading, HStack, Stack, Text, Textarea } from "@chakra-ui/react";
import { useState } from "react";

import { pathWith } from "../api/client";
import type { Holds as HoldsFound, Published, Why, WhyReason } from "../api/types";
import { OFTEN, SELDOM, useLoad } from "../api/useLoad";
import { Ago, For, LabelTags, Problem, Rows, Section, segment, StateTag, To, ToAsset, ToCord, Waiting, WIDE_KEY } from "../components/basics";
import { AwaitedText } from "../components/CordFacts";
import { RepairOf } from "../components/CordsInBrief";
import { DeclareDialog } from "../components/DeclareDialog";
import { Dialogue } from "../components/Dialogue";
import { Holds } from "../components/Holds";
import { PullDialog } from "../components/PullDialog";
import { useAct } from "../lib/useAct";
import { keyText } from "../lib/words";

/** Of a Dag, or of a task in all of its runs: which runs are concerned. */
export function DagTab({ dagId, taskId }: { readonly dagId: string; readonly taskId?: string }) {
  return (
    <Box className="andon" p={4}>
      <Heading as="h2" mb={1} size="md">
        {taskId === undefined ? "Runs of this Dag that open cords concern" : "Runs in which this task waits or was stopped"}
      </Heading>
      <Holds
        besides={taskId === undefined ? <NotHeld dagId={dagId} /> : null}
        every={(found) => (found && found.total_entries > 0 ? OFTEN : SELDOM)}
        none="None. No open cord concerns it."
        query={taskId === undefined ? { dag_id: dagId } : { dag_id: dagId, task_id: taskId }}
      />
    </Box>
  );
}

/** Where runs are that Airflow shows only after all held ones, since those are queued until a far date. */
function NotHeld({ dagId }: { readonly dagId: string }) {
  const [now] = useState(() => new Date().toISOString());
  const { data: waiting } = useLoad<HoldsFound>(pathWith("/holds", { dag_id: dagId, waiting: true, limit: 100 }), () => SELDOM);
  if (!waiting?.holds.some((hold) => hold.whole)) return null;
  return (
    <Text color="fg.muted" fontSize="sm" mb={3}>
      Airflow lists held runs first, as queued until 2037. <To path={`/dags/${segment(dagId)}/runs?run_after_lte=${now}`}>All runs that are not held</To>
    </Text>
  );
}

/** Of a run or a task instance: am I held, why, since when, by whom, what is awaited; and what it published. */
export function RunTab({
  dagId,
  mapIndex,
  runId,
  taskId,
}: {
  readonly dagId: string;
  readonly mapIndex?: number;
  readonly runId: string;
  readonly taskId?: string;
}) {
  const { data: why, error, reload } = useLoad<Why>(
    pathWith("/why", { dag_id: dagId, run_id: runId, task_id: taskId }),
    (found) => (found && (found.waits || found.reasons.length > 0 || found.labels.length > 0) ? OFTEN : SELDOM),
  );
  const what = taskId === undefined ? "run" : "task";
  return (
    <Box className="andon" p={4}>
      {error && why === undefined ? <Problem>{error.message}</Problem> : null}
      {why === undefined ? error ? null : <Waiting what="why it waits" /> : <Reasons onDone={reload} what={what} why={why} />}
      <PublishedSection dagId={dagId} mapIndex={mapIndex} runId={runId} taskId={taskId} what={what} />
    </Box>
  );
}

function headline(what: string, { labels, reasons, waits }: Why): string {
  if (waits) return `This ${what} waits`;
  if (labels.some((label) => ["repairing", "starting"].includes(label))) return `This ${what} is being repaired`;
  if (labels.includes("superseded")) return `Another run does the work of this ${what}`;
  if (labels.length > 0 || reasons.length > 0) return `This ${what} has read bad data`;
  return `Nothing keeps this ${what} waiting`;
}

function Reasons({ onDone, what, why }: { readonly onDone: () => void; readonly what: string; readonly why: Why }) {
  const [step, setStep] = useState<"let-through" | "approve">();
  return (
    <>
      <HStack gap={3} justify="space-between" wrap="wrap">
        <HStack gap={3} wrap="wrap">
          <Heading as="h2" size="md">
            {headline(what, why)}
          </Heading>
          <LabelTags labels={why.labels} />
        </HStack>
        <HStack>
          {why.may.approve ? (
            <Button onClick={() => setStep("approve")} size="sm">
              Approve the repair
            </Button>
          ) : null}
          {why.may.let_through ? (
            <Button onClick={() => setStep("let-through")} size="sm" variant="outline">
              Let it through
            </Button>
          ) : null}
        </HStack>
      </HStack>
      {why.let_through_by === null ? null : <Text mt={1}>{why.let_through_by} has let it through: it reads what was halted at that moment.</Text>}
      {why.reasons.length === 0 && why.labels.length === 0 ? (
        <Text color="fg.muted" mt={1}>
          No cord is open on anything that it reads.
        </Text>
      ) : null}
      <Stack as="ul" gap={3} listStyleType="none" mt={3}>
        {why.reasons.map((reason, index) => (
          <Reason key={index} onDone={onDone} reason={reason} />
        ))}
      </Stack>
      {step === undefined ? null : <Permit onClose={() => setStep(undefined)} onDone={onDone} step={step} why={why} />}
    </>
  );
}

function Reason({ onDone, reason }: { readonly onDone: () => void; readonly reason: WhyReason }) {
  const [declaring, setDeclaring] = useState(false);
  return (
    <Box as="li" borderRadius="md" borderWidth={1} boxShadow="inset 4px 0 0 0 var(--shadow-color)" boxShadowColor="orange.solid" p={3} ps={4}>
      <HStack align="baseline" columnGap={2} wrap="wrap">
        {reason.asset !== null && reason.asset_id !== null ? (
          <>
            <ToAsset id={reason.asset_id} name={reason.asset} />
            <Text {...WIDE_KEY}>{keyText(reason.partition_key)}</Text>
            <Text>is bad{reason.cord_id === null ? "" : ":"}</Text>
          </>
        ) : null}
        {reason.cord_id === null ? null : <ToCord id={reason.cord_id} />}
      </HStack>
      {reason.reason === null ? null : (
        <Text fontWeight="medium" mt={1} overflowWrap="anywhere" whiteSpace="pre-wrap">
          {reason.reason}
        </Text>
      )}
      <Text color="fg.muted" fontSize="sm" mt={1}>
        {reason.pulled_by === null ? "" : `Pulled by ${reason.pulled_by}. `}
        {reason.since === null ? null : (
          <>
            Has concerned it for <For moment={reason.since} />.
          </>
        )}
      </Text>
      <Text mt={1} overflowWrap="anywhere">
        Awaited: {reason.may_declare ? "its publication, or your word" : <AwaitedText awaits={reason.awaits} />}
      </Text>
      {reason.may_declare ? (
        <Button mt={2} onClick={() => setDeclaring(true)} size="sm" variant="outline">
          Declare
        </Button>
      ) : null}
      {declaring ? <DeclareDialog onClose={() => setDeclaring(false)} onDone={onDone} reason={reason} /> : null}
    </Box>
  );
}

function Permit({
  onClose,
  onDone,
  step,
  why,
}: {
  readonly onClose: () => void;
  readonly onDone: () => void;
  readonly step: "let-through" | "approve";
  readonly why: Why;
}) {
  const [text, setText] = useState("");
  const { act, busy, problem } = useAct<unknown>(() => {
    onDone();
    onClose();
  });
  const through = step === "let-through";
  const run = { dag_id: why.dag_id, run_id: why.run_id };
  return (
    <Dialogue
      busy={busy}
      disabled={through && text.trim() === ""}
      go={through ? "Let it through" : "Approve"}
      onClose={onClose}
      onGo={() => void (through ? act("/runs/let-through", { ...run, reason: text }) : act("/runs/approve-repair", { ...run, note: text.trim() || null }))}
      problem={problem}
      title={through ? "Let this run through" : "Approve the repair of this run"}
    >
      <Text mb={3}>
        {through
          ? "It may read what is halted at this moment. What it makes of it is tainted, and made anew after the release."
          : "It asks first, since it sends mails, moves money or the like. Approved, it runs again once all that it reads is good."}
      </Text>
      <Field.Root required={through}>
        <Field.Label>{through ? "Why?" : "Note"}</Field.Label>
        <Textarea maxLength={10_000} onChange={(event) => setText(event.target.value)} rows={2} value={text} />
      </Field.Root>
    </Dialogue>
  );
}

function PublishedSection({
  dagId,
  mapIndex,
  runId,
  taskId,
  what,
}: {
  readonly dagId: string;
  readonly mapIndex?: number;
  readonly runId: string;
  readonly taskId?: string;
  readonly what: string;
}) {
  const [pulling, setPulling] = useState(false);
  const { data, reload } = useLoad<Published>(
    pathWith("/published", { dag_id: dagId, run_id: runId, task_id: taskId, map_index: mapIndex }),
    () => SELDOM,
  );
  if (!data || data.published.length + data.hidden === 0) return null;
  const shown = data.published.slice(0, 100);
  const firstOf = new Map(shown.flatMap((partition) => partition.cords.map((id) => [id, partition] as const)).reverse());
  return (
    <Section
      action={
        data.may_pull ? (
          <Button colorPalette="red" onClick={() => setPulling(true)} size="sm">
            Pull what it published
          </Button>
        ) : null
      }
      title={`What this ${what} published`}
    >
      <Rows columns={["Asset", "Partition", "State", "Published", "Cord"]} label="Published partitions">
        {shown.map((partition) => (
          <tr key={`${partition.asset_id} ${partition.partition_key} ${partition.task_id} ${partition.map_index}`}>
            <td>
              <ToAsset id={partition.asset_id} name={partition.asset} />
            </td>
            <td>
              <Text {...WIDE_KEY}>{keyText(partition.partition_key)}</Text>
            </td>
            <td>
              <StateTag state={partition.state} />
            </td>
            <td>
              <Ago moment={partition.published_at} />
            </td>
            <td>
              {partition.cords.map((id) => (
                <HStack key={id} wrap="wrap">
                  <ToCord id={id} />
                  {firstOf.get(id) === partition ? <RepairOf id={id} onDone={reload} /> : null}
                </HStack>
              ))}
            </td>
          </tr>
        ))}
      </Rows>
      {data.published.length > shown.length ? <Text fontSize="sm">and {data.published.length - shown.length} more</Text> : null}
      {data.hidden > 0 ? (
        <Text color="fg.muted" fontSize="sm">
          and {data.hidden} of assets that you may not see
        </Text>
      ) : null}
      {pulling ? (
        <PullDialog
          onClose={() => setPulling(false)}
          run={{ dag_id: dagId, run_id: runId, ...(taskId === undefined ? {} : { task_id: taskId }), ...(mapIndex === undefined ? {} : { map_index: mapIndex }) }}
        />
      ) : null}
    </Section>
  );
}
