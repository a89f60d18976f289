import { Box, Button, Heading, HStack, Input, Stack, Tabs, Text } from "@chakra-ui/react";
import { useState } from "react";

import { pathWith } from "../api/client";
import type { Assets, Cords, Summary } from "../api/types";
import { OFTEN, SELDOM, useLoad } from "../api/useLoad";
import { Calm, Problem, Section, Tag, ToAsset, Waiting } from "../components/basics";
import { CordCard } from "../components/CordCard";
import { PullDialog } from "../components/PullDialog";
import { count, STATES } from "../lib/words";
import { Lamp, lineText } from "./LineCard";

/** What is stopped now, the most urgent first; and what once was. */
export function Board() {
  const [pulling, setPulling] = useState(false);
  const summary = useLoad<Summary>("/summary", (line) => (line && line.open_cords + line.bad_partitions > 0 ? OFTEN : SELDOM));
  const mine = useLoad<Assets>(pathWith("/assets", { may_pull: true, limit: 1 }));
  const mayPull = (mine.data?.total_entries ?? 0) > 0;

  return (
    <Box className="andon" mx="auto" maxW="64rem" p={{ base: 3, md: 6 }} width="100%">
      <HStack justify="space-between" mb={4} wrap="wrap">
        <HStack align="start" flex={1} gap={3} minW="14rem">
          {summary.data ? (
            <Box pt={2}>
              <Lamp line={summary.data.line} />
            </Box>
          ) : null}
          <Box>
            <Heading as="h1" size="xl">
              {summary.data ? lineText(summary.data) : "Andon board"}
            </Heading>
            {summary.data && summary.data.open_cords > 0 ? (
              <Text color="fg.muted">
                {count(summary.data.halted_partitions, "partition")} halted
                {summary.data.bad_partitions > 0 ? `, ${summary.data.bad_partitions.toLocaleString("en")} more bad because of data upstream` : ""}
                {summary.data.unacknowledged > 0 ? ` · ${count(summary.data.unacknowledged, "cord")} that nobody is on` : ""}
              </Text>
            ) : null}
          </Box>
        </HStack>
        {mayPull ? (
          <Button colorPalette="red" onClick={() => setPulling(true)}>
            Pull the cord
          </Button>
        ) : null}
      </HStack>
      {summary.error ? <Problem title="The state of the line is unknown">{summary.error.message}</Problem> : null}
      <Tabs.Root defaultValue="now" lazyMount unmountOnExit>
        <Tabs.List>
          <Tabs.Trigger value="now">Now</Tabs.Trigger>
          <Tabs.Trigger value="history">History</Tabs.Trigger>
        </Tabs.List>
        <Tabs.Content value="now">
          <Now line={summary.data} reload={summary.reload} />
        </Tabs.Content>
        <Tabs.Content value="history">
          <History />
        </Tabs.Content>
      </Tabs.Root>
      {pulling ? <PullDialog onClose={() => setPulling(false)} /> : null}
    </Box>
  );
}

function Now({ line, reload }: { readonly line: Summary | undefined; readonly reload: () => void }) {
  const [limit, setLimit] = useState(20);
  const cords = useLoad<Cords>(pathWith("/cords", { closed: false, limit }), (found) => (found && found.total_entries > 0 ? OFTEN : SELDOM));
  const done = () => {
    cords.reload();
    reload();
  };
  const { data, error } = cords;
  return (
    <Stack gap={3}>
      {error ? <Problem title="The cords cannot be loaded">{error.message}</Problem> : null}
      {data === undefined && !error ? <Waiting height="8rem" what="the board" /> : null}
      {data?.cords.map((cord) => <CordCard cord={cord} key={cord.cord_id} onDone={done} />)}
      {data && data.total_entries > data.cords.length ? (
        <Button onClick={() => setLimit(limit + 20)} variant="outline">
          {count(data.total_entries - data.cords.length, "more cord")}
        </Button>
      ) : null}
      {data?.total_entries === 0 && line && line.line !== "off" && line.bad_partitions === 0 ? (
        <Calm title="Nothing is held">
          No cord is open, and no partition is known to be bad.
          {line.open_cords > 0 ? ` (${count(line.open_cords, "cord")} on assets that you may not see.)` : ""}
        </Calm>
      ) : null}
      {line && line.bad_partitions > 0 ? <Troubled /> : null}
    </Stack>
  );
}

function Troubled() {
  const { data } = useLoad<Assets>(pathWith("/assets", { troubled: true, limit: 50, order_by: "name" }), () => SELDOM);
  if (!data || data.assets.length === 0) return null;
  const rootsFirst = [...data.assets].sort((a, b) => Number(b.halted > 0) - Number(a.halted > 0));
  return (
    <Section title="Assets with bad partitions">
      <Stack as="ul" gap={0} listStyleType="none">
        {rootsFirst.map((asset) => (
          <HStack as="li" borderTopWidth={1} key={asset.asset_id} py={2} wrap="wrap">
            <ToAsset id={asset.asset_id} name={asset.name} />
            {asset.halted > 0 ? <Tag palette={STATES.halted.palette}>{count(asset.halted, "partition")} halted</Tag> : null}
            {asset.bad > 0 ? <Tag palette={STATES.bad.palette}>{count(asset.bad, "partition")} bad</Tag> : null}
          </HStack>
        ))}
      </Stack>
    </Section>
  );
}

function History() {
  const [text, setText] = useState("");
  const [limit, setLimit] = useState(20);
  const { data, error, reload } = useLoad<Cords>(pathWith("/cords", { closed: true, text, limit, order_by: "-closed_at" }));
  return (
    <Stack gap={3}>
      <Input
        aria-label="Find closed cords"
        onChange={(event) => {
          setText(event.target.value);
          setLimit(20);
        }}
        placeholder="Find by reason, asset, partition or person"
        value={text}
      />
      {error ? <Problem>{error.message}</Problem> : null}
      {data === undefined && !error ? <Waiting what="closed cords" /> : null}
      {data?.cords.map((cord) => <CordCard cord={cord} key={cord.cord_id} onDone={reload} />)}
      {data?.total_entries === 0 ? (
        <Text color="fg.muted" py={6} textAlign="center">
          {text === "" ? "No cord was closed yet." : "No closed cord fits."}
        </Text>
      ) : null}
      {data && data.total_entries > data.cords.length ? (
        <Button onClick={() => setLimit(limit + 20)} variant="outline">
          {count(data.total_entries - data.cords.length, "more cord")}
        </Button>
      ) : null}
    </Stack>
  );
}
