import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Api } from './api';
import { RunsModel } from './runs/model';
import { Settings } from './settings';
import { IFlip } from './tokens';

/** The plugin whose settings are the extension's (schema/lab.json). */
const ID = 'flip-lab:lab';

/** Gives all other parts the API, the runs and the settings. */
export const lab: JupyterFrontEndPlugin<IFlip> = {
  id: ID,
  description: 'The lab: its API, its runs, the settings.',
  autoStart: true,
  provides: IFlip,
  optional: [ISettingRegistry, ITranslator],
  activate: (app: JupyterFrontEnd, registry: ISettingRegistry | null, translator: ITranslator | null): IFlip => {
    const api = new Api(app.serviceManager.serverSettings);
    const runs = new RunsModel({ api, later: (call, delay_ms) => void window.setTimeout(call, delay_ms) });
    const settings = new Settings();
    const trans = (translator ?? nullTranslator).load('flip_lab');
    registry?.load(ID).then(
      chosen => settings.follow(chosen),
      (error: unknown) => console.warn('FLIP Lab: its settings cannot be read; the usual ones hold.', error)
    );
    void app.started.then(() => runs.start());
    return { api, runs, settings, trans, currentRun: null };
  }
};
