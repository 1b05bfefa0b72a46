import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { LabIcon } from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';
import { sweepsIcon } from '../icons';
import { CATEGORY, CommandIDs, IFlip } from '../tokens';
import { Gallery } from './gallery';
import { galleryIcon, modelsIcon } from './icons';
import { Models } from './models';
import { showIn } from './place';
import { Sweeps } from './sweeps';

/** A panel that there is once. */
interface IListPanel {
  id: string;
  label: string;
  caption: string;
  icon: LabIcon;
  make: () => Widget;
}

/** The gallery of scenarios, the model registry and the sweeps. */
export const lists: JupyterFrontEndPlugin<void> = {
  id: 'flip-lab:lists',
  description: 'The gallery of scenarios, the model registry and the sweeps.',
  autoStart: true,
  requires: [IFlip],
  optional: [ICommandPalette, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    flip: IFlip,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null
  ): void => {
    for (const panel of panelsOf(app, flip)) {
      const { id, label, caption, icon } = panel;
      const tracker = new WidgetTracker<MainAreaWidget>({ namespace: id.replace(':', '-') });
      app.commands.addCommand(id, {
        label,
        caption,
        icon: args => (args['isPalette'] ? undefined : icon),
        execute: () => showIn(app, tracker, id.replace(':', '-'), () => titled(panel))
      });
      palette?.addItem({ command: id, category: CATEGORY, args: { isPalette: true } });
      void restorer?.restore(tracker, { command: id, name: ({ id: name }) => name });
    }
  }
};

function panelsOf(app: JupyterFrontEnd, flip: IFlip): IListPanel[] {
  const { trans } = flip;
  return [
    {
      id: CommandIDs.openGallery,
      label: trans.__('Scenarios'),
      caption: trans.__('Federations that are ready to run, with pictures'),
      icon: galleryIcon,
      make: () => new Gallery(flip, app.commands)
    },
    {
      id: CommandIDs.openModels,
      label: trans.__('Models'),
      caption: trans.__('Registered models: versions, stages, where they come from'),
      icon: modelsIcon,
      make: () => new Models(flip, app.commands)
    },
    {
      id: CommandIDs.openSweeps,
      label: trans.__('Sweeps'),
      caption: trans.__('Runs that were launched together'),
      icon: sweepsIcon,
      make: () => new Sweeps(flip, app.commands)
    }
  ];
}

function titled({ label, caption, icon, make }: IListPanel): MainAreaWidget {
  const panel = new MainAreaWidget({ content: make() });
  panel.toolbar.hide(); // nothing is in it
  Object.assign(panel.title, { label, caption, icon });
  return panel;
}
