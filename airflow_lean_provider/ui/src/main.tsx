/** Puts the pages where Airflow looks for them; `ui/__init__.py` announces the same names. */
import { Navigate, useParams } from "react-router-dom";

import { HOME } from "./components/basics";
import { AssetBanner } from "./views/AssetBanner";
import { Board } from "./views/Board";
import { CordPage } from "./views/CordPage";
import { LineCard } from "./views/LineCard";
import { DagTab, RunTab } from "./views/Tabs";

/** What Airflow tells its plugins of the page that they are on. */
type Place = {
  readonly dagId?: string;
  readonly mapIndex?: string;
  readonly runId?: string;
  readonly taskId?: string;
};

/** The board and, where the page is one of a Dag, a run, a task or a task instance, their tab. */
function Andon({ dagId, mapIndex, runId, taskId }: Place) {
  if (dagId === undefined) return <Pages />;
  if (runId === undefined) return <DagTab dagId={dagId} taskId={taskId} />;
  return <RunTab dagId={dagId} mapIndex={mapIndex === undefined ? undefined : Number(mapIndex)} runId={runId} taskId={taskId} />;
}

function Pages() {
  const [section, id] = (useParams()["*"] ?? "").split("/");
  if (section === "cords" && /^\d+$/.test(id ?? "")) return <CordPage id={Number(id)} key={id} />;
  return section === "" ? <Board /> : <Navigate replace to={HOME} />;
}

Object.assign(globalThis, { Andon, AndonAssetBanner: AssetBanner, AndonLine: LineCard });
