import { TranslationBundle } from '@jupyterlab/translation';
import { Token } from '@lumino/coreutils';
import { ISignal } from '@lumino/signaling';
import { IApi } from './api';
import { IRunsModel } from './runs/model';

export type { IRunRow, RunState } from './runs/rows';
export type { IRunsModel } from './runs/model';

/** What all parts of the extension work with. */
export interface IFlip {
  readonly api: IApi;
  /** All runs of the lab, kept current. */
  readonly runs: IRunsModel;
  readonly settings: ISettings;
  /** Gives every text that a person reads. */
  readonly trans: TranslationBundle;
  /**
   * The run that a command means when it is given none: whoever shows a run, or lets one be
   * chosen, says so here.
   */
  currentRun: string | null;
}

export const IFlip = new Token<IFlip>('flip-lab:IFlip', 'The lab: its API, its runs, the settings.');

/** What the user chose (schema/lab.json says what each means). */
export interface ISettings {
  readonly figureTheme: 'auto' | 'light' | 'dark';
  readonly confirmStop: boolean;
  readonly notify: 'all' | 'failures' | 'none';
  readonly showArchived: boolean;
  readonly statusBar: boolean;
  readonly changed: ISignal<ISettings, void>;
}

/** All commands, so that one part can call another's. */
export const CommandIDs = {
  // shell
  openRuns: 'flip-lab:open-runs',
  openNodes: 'flip-lab:open-nodes',
  openAlerts: 'flip-lab:open-alerts',
  openSweeps: 'flip-lab:open-sweeps',
  /** Shows the side bar; a page of the main area where there is none. */
  showSidebar: 'flip-lab:show-sidebar',
  /** `{run_id?}`; `IFlip.currentRun` where it is left out, as for the next four */
  pauseRun: 'flip-lab:pause-run',
  resumeRun: 'flip-lab:resume-run',
  stopRun: 'flip-lab:stop-run',
  copyAttachCode: 'flip-lab:copy-attach-code',
  insertAttachCode: 'flip-lab:insert-attach-code',
  /** `{scenario?}`; asks for one where it is left out */
  newNotebook: 'flip-lab:new-notebook',
  // panels
  openGallery: 'flip-lab:open-gallery',
  /** `{run_id}` */
  openRun: 'flip-lab:open-run',
  /** `{run_ids}`: a list of ids */
  compareRuns: 'flip-lab:compare-runs',
  openModels: 'flip-lab:open-models',
  /** `{scenario?}` */
  openLaunchForm: 'flip-lab:open-launch-form',
  /** `{run_id?, federation?}`: the nodes of a run, or of all runs on a federation */
  openFleet: 'flip-lab:open-fleet',
  /** `{scenario?}` */
  openPartitions: 'flip-lab:open-partitions',
  /** `{path}` or nothing: a new scenario file */
  editScenario: 'flip-lab:edit-scenario'
} as const;

/** Where the commands stand in the palette and the launcher. */
export const CATEGORY = 'Federated Learning';
