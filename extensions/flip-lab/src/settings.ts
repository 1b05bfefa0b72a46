import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ISignal, Signal } from '@lumino/signaling';
import type { ISettings } from './tokens';

/** The user's choices; the schema's defaults until they are loaded, or where there are none. */
export class Settings implements ISettings {
  private _values: Partial<Record<string, unknown>> = {};
  private readonly _changed = new Signal<ISettings, void>(this);

  get figureTheme(): 'auto' | 'light' | 'dark' {
    return this._value('figureTheme', 'auto');
  }

  get confirmStop(): boolean {
    return this._value('confirmStop', true);
  }

  get notify(): 'all' | 'failures' | 'none' {
    return this._value('notify', 'all');
  }

  get showArchived(): boolean {
    return this._value('showArchived', false);
  }

  get statusBar(): boolean {
    return this._value('statusBar', true);
  }

  get changed(): ISignal<ISettings, void> {
    return this._changed;
  }

  /** Takes the choices over from the registry, now and whenever they change. */
  follow(chosen: ISettingRegistry.ISettings): void {
    const take = (): void => {
      this._values = chosen.composite;
      this._changed.emit();
    };
    chosen.changed.connect(take);
    take();
  }

  private _value<T>(name: string, usual: T): T {
    return (this._values[name] as T | undefined) ?? usual;
  }
}
