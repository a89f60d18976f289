import { Box, HStack, Stack, Text } from "@chakra-ui/react";

import type { Plan } from "../api/types";
import { count, duration, keyText, LABELS } from "../lib/words";
import { LabelTags, ToDag } from "./basics";
import { Downstream } from "./Downstream";

/** What a pull would do at this moment. */
export function PlanView({ plan }: { readonly plan: Plan }) {
  const concerned = (Object.keys(LABELS) as (keyof typeof LABELS)[]).filter((label) => plan.counts[label] > 0);
  return (
    <Stack gap={3}>
      <HStack gap={6} wrap="wrap">
        <Figure n={plan.total_partitions} of={plan.total_partitions === 1 ? "bad partition" : "bad partitions"} />
        {concerned.map((label) => (
          <Figure key={label} n={plan.counts[label]} of={`${plan.counts[label] === 1 ? "run" : "runs"} ${LABELS[label].text}`} />
        ))}
        <Figure n={plan.late} of={`${plan.late === 1 ? "partition" : "partitions"} late, until it is released`} />
      </HStack>
      <Text fontSize="sm">
        {concerned.length === 0 ? "No run has read this or is about to. " : ""}
        {plan.repair_task_seconds > 0 ? `The repair takes about ${duration(plan.repair_task_seconds)} of task time. ` : ""}
        {plan.covers_later === null ? "" : `Also covers ${plan.covers_later}. `}
        {plan.owners.length > 0 ? `Owners to tell: ${plan.owners.map((o) => `${o.owner} (${o.dags.join(", ")})`).join("; ")}. ` : ""}
        {plan.hidden.dags > 0 ? `And ${count(plan.hidden.dags, "Dag")} that you may not see.` : ""}
      </Text>
      <Downstream graph={plan.graph} height="18rem" />
      {plan.runs.length > 0 ? (
        <Box as="details" fontSize="sm">
          <Box as="summary" cursor="pointer">
            {count(plan.total_runs, "run")}
          </Box>
          <Stack as="ul" gap={1} listStyleType="none" mt={1}>
            {plan.runs.map((run) => (
              <HStack as="li" key={`${run.dag_id} ${run.run_id}`} wrap="wrap">
                <LabelTags labels={run.labels} />
                <ToDag dagId={run.dag_id} />
                <Text fontFamily="mono" fontSize="xs">
                  {run.partition_key === null ? run.run_id : keyText(run.partition_key)}
                </Text>
              </HStack>
            ))}
            {plan.total_runs > plan.runs.length ? <li>and {plan.total_runs - plan.runs.length} more</li> : null}
          </Stack>
        </Box>
      ) : null}
      <Notes lines={plan.used_up.map((u) => `${u.dag_id ?? "A pool"}: ${u.limit}`)} title="Uses up limits of Airflow's own" />
      <Notes
        lines={plan.held_in_doubt.map((d) => `${d.dag_id} › ${d.task_id} reads ${d.asset}, and does not say which partitions: ${d.ends_the_doubt}`)}
        title="Held in doubt"
      />
      <Notes lines={plan.not_followed.map((n) => `${n.dag_id} › ${n.task_id}: ${n.why}`)} title="Not followed" />
    </Stack>
  );
}

function Figure({ n, of }: { readonly n: number; readonly of: string }) {
  return (
    <Box>
      <Text fontSize="2xl" fontWeight="semibold" lineHeight={1.1}>
        {n.toLocaleString("en")}
      </Text>
      <Text color="fg.muted" fontSize="sm">
        {of}
      </Text>
    </Box>
  );
}

function Notes({ lines, title }: { readonly lines: readonly string[]; readonly title: string }) {
  if (lines.length === 0) return null;
  return (
    <Box fontSize="sm">
      <Text fontWeight="medium">{title}</Text>
      <Box as="ul" listStylePosition="inside" overflowWrap="anywhere">
        {lines.slice(0, 5).map((line) => (
          <li key={line}>{line}</li>
        ))}
        {lines.length > 5 ? <li>and {lines.length - 5} more</li> : null}
      </Box>
    </Box>
  );
}
