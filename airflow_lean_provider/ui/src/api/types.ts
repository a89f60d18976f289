/** What the API answers; authoritative is `api/openapi/v1-andon.yaml`. */

export type Severity = "stop" | "warn";
export type Outcome = "fixed" | "false_alarm" | "withdrawn";
export type PartitionState = "halted" | "bad" | "warned" | "withdrawn" | "clean";

export type Counts = {
  held: number;
  stopped: number;
  tainted: number;
  owes: number;
  repairing: number;
  starting: number;
  superseded: number;
  repair_failed: number;
  asks: number;
};

export type TaskName = { dag_id: string; run_id: string; task_id: string | null; map_index: number | null };

export type Awaited = { text: string; tasks: TaskName[]; hidden: number };

export type PartitionRef = { asset_id: number; partition_key: string | null };

export type PartitionName = PartitionRef & { asset: string };

export type AssetOfCord = {
  asset_id: number;
  name: string;
  partitions: number;
  open: number;
  first_keys: (string | null)[];
};

export type ScopeOfCord = {
  asset_id: number;
  asset: string;
  covers: string;
  ended_at: string | null;
  ended_by: string | null;
};

export type Cord = {
  cord_id: number;
  state: "settling" | "open" | "closed";
  severity: Severity;
  reason: string;
  pulled_by: string;
  pulled_at: string;
  release_on: string;
  acknowledged_by: string | null;
  acknowledged_at: string | null;
  acknowledged_note: string | null;
  closed_at: string | null;
  assets: AssetOfCord[];
  hidden_assets: number;
  partitions: number;
  partitions_open: number;
  partitions_asked: number;
  scopes: ScopeOfCord[];
  runs: Counts;
  progress: { to_do: number; done: number };
  may: { acknowledge: boolean; edit: boolean; release: boolean; repair: boolean; raise_to_stop: boolean };
};

export type Pulled = Cord & { settled: boolean; existed: boolean };

/** What the page of a cord is told by the one that leads to it: the same request had pulled it before. */
export type Arrival = { existed: boolean };

export type Cords = { cords: Cord[]; total_entries: number };

export type CordPartition = PartitionName & {
  outcome: Outcome | null;
  ended_at: string | null;
  asked_outcome: Outcome | null;
  asked_by: string | null;
  asked_at: string | null;
  after_publication: boolean;
  awaits: Awaited | null;
  note: string | null;
};

export type CordPartitions = { partitions: CordPartition[]; total_entries: number };

export type NodeState = "bad" | "warned" | "withdrawn" | "stopped" | "held" | "repairing" | "tainted" | "clean";

export type GraphNode = {
  id: string;
  kind: "asset" | "dag";
  label: string | null;
  asset_id: number | null;
  dag_id: string | null;
  hops: number;
  root: boolean;
  state: NodeState;
  partitions: number;
  bad_partitions: number;
  runs: Counts;
};

export type Graph = { nodes: GraphNode[]; edges: { source: string; target: string }[]; cut: boolean };

export type Plan = {
  severity: Severity;
  covers_later: string | null;
  counts: Counts;
  late: number;
  repair_task_seconds: number;
  total_partitions: number;
  partitions: (PartitionName & { published_at: string | null; bad_versions: number })[];
  total_runs: number;
  runs: { dag_id: string; run_id: string; partition_key: string | null; labels: string[]; owner: string }[];
  owners: { owner: string; dags: string[] }[];
  held_in_doubt: { dag_id: string; task_id: string; asset: string; ends_the_doubt: string }[];
  not_followed: { dag_id: string; task_id: string; why: string }[];
  used_up: { dag_id: string | null; limit: string }[];
  hidden: Record<"partitions" | "runs" | "late" | "held_in_doubt" | "not_followed" | "used_up" | "dags", number>;
  graph: Graph;
  may_pull: boolean;
};

export type Asset = {
  asset_id: number;
  name: string;
  uri: string;
  open_cords: number[];
  halted: number;
  bad: number;
  may_pull: boolean;
};

export type Assets = { assets: Asset[]; total_entries: number };

export type Partition = {
  partition_key: string | null;
  state: PartitionState;
  cords: number[];
  since: string | null;
  published_at: string | null;
  publications: number;
  dag_id: string | null;
  run_id: string | null;
};

export type Partitions = { partitions: Partition[]; total_entries: number };

export type Published = {
  published: (PartitionName & {
    task_id: string;
    map_index: number;
    published_at: string;
    state: PartitionState;
    cords: number[];
  })[];
  hidden: number;
  may_pull: boolean;
};

export type CordInBrief = { cord_id: number; reason: string; pulled_by: string; pulled_at: string };

export type Hold = {
  dag_id: string;
  run_id: string;
  partition_key: string | null;
  labels: string[];
  whole: boolean;
  parked: string[];
  stopped: string[];
  since: string;
  cords: CordInBrief[];
  because: (PartitionName & { cord_id: number | null })[];
};

export type Holds = { holds: Hold[]; total_entries: number; hidden: number };

export type WhyReason = {
  cord_id: number | null;
  asset_id: number | null;
  asset: string | null;
  partition_key: string | null;
  reason: string | null;
  pulled_by: string | null;
  since: string | null;
  awaits: Awaited;
  may_declare: boolean;
};

export type Why = {
  dag_id: string;
  run_id: string;
  task_id: string | null;
  labels: string[];
  waits: boolean;
  let_through_by: string | null;
  reasons: WhyReason[];
  may: { let_through: boolean; approve: boolean };
};

export type Summary = {
  line: "running" | "warned" | "stopped" | "off";
  open_cords: number;
  stop: number;
  warn: number;
  unacknowledged: number;
  settling: number;
  halted_partitions: number;
  bad_partitions: number;
  runs: Counts;
  oldest: { cord_id: number; pulled_at: string; reason: string } | null;
};

/** Which partitions are meant, as `POST /cords` takes them. */
export type Scope = {
  asset_id?: number;
  partition_keys?: string[];
  range?: { first: string; last: string };
  pattern?: string;
  from_key?: string;
  all?: boolean;
  run?: { dag_id: string; run_id: string; task_id?: string; map_index?: number };
};
