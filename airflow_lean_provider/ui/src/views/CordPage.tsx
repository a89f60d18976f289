import { Alert, Box, Button, Heading, HStack, Input, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";
import { useLocation } from "react-router-dom";

import { pathWith } from "../api/client";
import type { Arrival, Cord, CordPartitions, Graph, ScopeOfCord } from "../api/types";
import { OFTEN, useLoad } from "../api/useLoad";
import { Ago, CountTags, HOME, Pager, Problem, Rows, Section, Tag, To, ToAsset, Waiting, WIDE_KEY } from "../components/basics";
import { CordActions } from "../components/CordActions";
import { Assets, AwaitedText, Repairing, Severity, Who } from "../components/CordFacts";
import { Downstream } from "../components/Downstream";
import { Holds } from "../components/Holds";
import { useAct } from "../lib/useAct";
import { keyText, OUTCOMES } from "../lib/words";

const SIZE = 25;
const whileOpen = (open: boolean) => () => (open ? OFTEN : 0);

/** One cord: who and why, what lies downstream, its partitions and the runs that it concerns. */
export function CordPage({ id }: { readonly id: number }) {
  const { data: cord, error, reload } = useLoad<Cord>(`/cords/${id}`, (found) => (found?.state === "closed" ? 0 : OFTEN));
  const arrival = useLocation().state as Arrival | null;
  return (
    <Box className="andon" mx="auto" maxW="80rem" p={{ base: 3, md: 6 }} width="100%">
      <Box mb={3}>
        <To path={HOME}>‹ Andon board</To>
      </Box>
      {arrival?.existed ? <Existed id={id} /> : null}
      {error && cord === undefined ? <Problem title={`Cord ${id} cannot be shown`}>{error.message}</Problem> : null}
      {cord === undefined ? error ? null : <Waiting height="10rem" what="the cord" /> : <Shown cord={cord} reload={reload} />}
    </Box>
  );
}

function Existed({ id }: { readonly id: number }) {
  return (
    <Alert.Root mb={3} role="status" size="sm" status="info">
      <Alert.Indicator />
      <Alert.Content>
        <Alert.Description>Your first request had already pulled cord {id}; only its answer was lost. Nothing was pulled twice.</Alert.Description>
      </Alert.Content>
    </Alert.Root>
  );
}

function Shown({ cord, reload }: { readonly cord: Cord; readonly reload: () => void }) {
  const open = cord.state !== "closed";
  const graph = useLoad<Graph>(open ? `/cords/${cord.cord_id}/graph` : null, whileOpen(open));
  return (
    <>
      <Stack gap={2}>
        <HStack gap={3} wrap="wrap">
          <Heading as="h1" size="xl">
            Cord {cord.cord_id}
          </Heading>
          <Severity cord={cord} />
        </HStack>
        <Text fontSize="lg" overflowWrap="anywhere" whiteSpace="pre-wrap">
          {cord.reason}
        </Text>
        <Box fontWeight="medium">
          <Assets cord={cord} />
        </Box>
        <Who cord={cord} />
        <CountTags counts={cord.runs} none={open ? "No run has read it or waits for it." : undefined} />
        <Repairing cord={cord} />
        {cord.scopes.map((scope) => (
          <Scope cord={cord} key={`${scope.asset_id} ${scope.covers}`} onDone={reload} scope={scope} />
        ))}
        <Box mt={2}>
          <CordActions cord={cord} everything onDone={reload} />
        </Box>
      </Stack>
      {open ? (
        <Section title="Downstream">
          {graph.data ? <Downstream graph={graph.data} /> : graph.error ? <Problem>{graph.error.message}</Problem> : <Waiting height="18rem" what="the graph" />}
        </Section>
      ) : null}
      {open ? (
        <Section title="Runs">
          <Holds every={whileOpen(open)} none="No run has read it or waits for it." query={{ cord_id: cord.cord_id }} showDag />
        </Section>
      ) : null}
      <Partitions cord={cord} />
    </>
  );
}

function Scope({ cord, onDone, scope }: { readonly cord: Cord; readonly onDone: () => void; readonly scope: ScopeOfCord }) {
  const { act, busy, problem } = useAct<Cord>(onDone);
  return (
    <HStack fontSize="sm" wrap="wrap">
      <Text>
        Covers {scope.covers} of {scope.asset}, also what is published later
        {scope.ended_at === null ? "." : ` (until ${scope.ended_by ?? "somebody"} ended it).`}
      </Text>
      {scope.ended_at === null && cord.may.release ? (
        <Button loading={busy} onClick={() => void act(`/cords/${cord.cord_id}/release`, { only_scope: true })} size="xs" variant="outline">
          Stop covering what is published later
        </Button>
      ) : null}
      {problem === undefined ? null : <Problem>{problem}</Problem>}
    </HStack>
  );
}

function Partitions({ cord }: { readonly cord: Cord }) {
  const [text, setText] = useState("");
  const [page, setPage] = useState(0);
  const { data, error } = useLoad<CordPartitions>(
    pathWith(`/cords/${cord.cord_id}/partitions`, { text, limit: SIZE, offset: page * SIZE, order_by: "partition_key" }),
    whileOpen(cord.state !== "closed"),
  );
  return (
    <Section
      action={
        cord.partitions > 10 ? (
          <Input aria-label="Find partitions" maxW="16rem" onChange={(event) => (setText(event.target.value), setPage(0))} placeholder="Find partitions" size="sm" value={text} />
        ) : null
      }
      title="Partitions"
    >
      {error ? <Problem>{error.message}</Problem> : null}
      {data === undefined ? (
        error ? null : <Waiting what="partitions" />
      ) : (
        <>
          <Rows columns={["Asset", "Partition", "State", "Note"]} label="Partitions">
            {data.partitions.map((partition) => (
              <tr key={`${partition.asset_id} ${partition.partition_key}`}>
                <td>
                  <ToAsset id={partition.asset_id} name={partition.asset} />
                </td>
                <td>
                  <Text {...WIDE_KEY}>{keyText(partition.partition_key)}</Text>
                </td>
                <td>
                  {partition.outcome !== null ? (
                    <HStack wrap="wrap">
                      <Tag palette="green">{OUTCOMES[partition.outcome].text}</Tag>
                      {partition.ended_at === null ? null : <Ago moment={partition.ended_at} />}
                    </HStack>
                  ) : partition.asked_outcome !== null ? (
                    <Stack gap={1}>
                      <HStack wrap="wrap">
                        <Tag palette="blue">{OUTCOMES[partition.asked_outcome].text}, asked</Tag>
                        {partition.asked_by} {partition.asked_at === null ? null : <Ago moment={partition.asked_at} />}
                      </HStack>
                      {partition.awaits === null ? null : (
                        <Text>
                          waits for <AwaitedText awaits={partition.awaits} />
                        </Text>
                      )}
                    </Stack>
                  ) : (
                    <Tag palette={cord.severity === "stop" ? "red" : "orange"}>open</Tag>
                  )}
                </td>
                <td>{partition.note}</td>
              </tr>
            ))}
          </Rows>
          <Pager onPage={setPage} page={page} size={SIZE} total={data.total_entries} />
        </>
      )}
    </Section>
  );
}
