import { Box, Heading, HStack, Stack, Text } from "@chakra-ui/react";

import type { Cord } from "../api/types";
import { CordActions } from "./CordActions";
import { Assets, Repairing, Severity, Who } from "./CordFacts";
import { CountTags, ToCord } from "./basics";

/** One incident on the board. */
export function CordCard({ cord, onDone }: { readonly cord: Cord; readonly onDone: () => void }) {
  const colour = cord.state === "closed" ? "border.emphasized" : cord.severity === "stop" ? "red.solid" : "orange.solid";
  return (
    <Box
      aria-label={`Cord ${cord.cord_id}`}
      as="article"
      bg="bg"
      borderRadius="md"
      borderWidth={1}
      boxShadow="inset 5px 0 0 0 var(--shadow-color)"
      boxShadowColor={colour}
      p={4}
      ps={5}
    >
      <Stack align="start" direction={{ base: "column", md: "row" }} gap={3} justify="space-between">
        <Stack flex={1} gap={1.5} minW={0} width="100%">
          <HStack align="baseline" columnGap={3} wrap="wrap">
            <Severity cord={cord} />
            <Heading as="h3" size="md">
              <ToCord id={cord.cord_id} />
            </Heading>
            <Box fontWeight="medium">
              <Assets cord={cord} />
            </Box>
          </HStack>
          <Text fontSize="md" lineClamp={3} overflowWrap="anywhere">
            {cord.reason}
          </Text>
          <Who cord={cord} />
          <CountTags counts={cord.runs} none={cord.state === "closed" ? undefined : "No run has read it or waits for it."} />
          <Repairing cord={cord} />
        </Stack>
        <Box flexShrink={0}>
          <CordActions cord={cord} onDone={onDone} />
        </Box>
      </Stack>
    </Box>
  );
}
