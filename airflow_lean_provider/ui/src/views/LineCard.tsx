import { Box, Heading, HStack, Text } from "@chakra-ui/react";

import type { Summary } from "../api/types";
import { OFTEN, SELDOM, useLoad } from "../api/useLoad";
import { Ago, CountTags, HOME, To, ToCord } from "../components/basics";
import { count } from "../lib/words";

const COLOURS = { running: "green.solid", warned: "orange.solid", stopped: "red.solid", off: "gray.solid" };

export function Lamp({ line }: { readonly line: Summary["line"] }) {
  return <Box aria-hidden="true" bg={COLOURS[line]} borderRadius="full" boxSize={4} flexShrink={0} />;
}

export function lineText({ line, open_cords: open, stop, warn }: Summary): string {
  switch (line) {
    case "off":
      return open > 0 ? `The brake is switched off, with ${count(open, "open cord")}` : "The brake is switched off";
    case "stopped":
      return `${count(stop, "cord stops", "cords stop")} part of the line`;
    case "warned":
      return count(warn, "cord warns", "cords warn");
    case "running":
      return "The line is running";
  }
}

/** The state of the line at a glance, on Airflow's own dashboard. */
export function LineCard() {
  const { data } = useLoad<Summary>("/summary", (line) => (line && line.open_cords > 0 ? OFTEN : SELDOM));
  if (data === undefined) return null;
  return (
    <Box aria-label="Andon" as="section" className="andon" borderRadius="md" borderWidth={1} mb={4} px={4} py={3}>
      <HStack columnGap={4} justify="space-between" rowGap={2} wrap="wrap">
        <HStack columnGap={6} rowGap={2} wrap="wrap">
          <HStack gap={3}>
            <Lamp line={data.line} />
            <Heading as="h2" size="md">
              {lineText(data)}
            </Heading>
          </HStack>
          <CountTags counts={data.runs} />
        </HStack>
        <To path={HOME}>Andon board</To>
      </HStack>
      {data.oldest === null ? null : (
        <Text color="fg.muted" fontSize="sm" lineClamp={2} mt={1} overflowWrap="anywhere">
          Open for longest: <ToCord id={data.oldest.cord_id} />, pulled <Ago moment={data.oldest.pulled_at} />: {data.oldest.reason}
        </Text>
      )}
    </Box>
  );
}
