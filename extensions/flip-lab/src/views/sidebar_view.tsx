import { CommandRegistry } from '@lumino/commands';
import React from 'react';
import { RunsBrowser } from '../runs/browser';
import { IFlip } from '../tokens';
import { Alerts } from '../alerts';
import { AlertsView } from './alerts_view';
import { Banner } from './banner';
import { useVersion } from './hooks';
import { NodesView } from './nodes_view';
import { RunsView } from './runs_view';

export type Tab = 'runs' | 'nodes' | 'alerts';

const TABS: readonly Tab[] = ['runs', 'nodes', 'alerts'];

export interface ISidebarView {
  flip: IFlip;
  browser: RunsBrowser;
  alerts: Alerts;
  commands: CommandRegistry;
  tab: Tab;
  onTab: (tab: Tab) => void;
}

/** The side bar: three tabs under one banner. */
export function SidebarView(props: ISidebarView): JSX.Element {
  const { flip, tab } = props;
  const name = React.useId();
  return (
    <>
      <Banner flip={flip} />
      <Tabs {...props} name={name} />
      <div role="tabpanel" className="jp-FlipLab-tabpanel" id={`${name}-panel`} aria-labelledby={`${name}-${tab}`}>
        <Shown {...props} />
      </div>
    </>
  );
}

function Shown({ flip, browser, alerts, commands, tab }: ISidebarView): JSX.Element {
  if (tab === 'nodes') return <NodesView flip={flip} commands={commands} />;
  if (tab === 'alerts') return <AlertsView flip={flip} alerts={alerts} commands={commands} />;
  return <RunsView flip={flip} browser={browser} commands={commands} />;
}

/** Tabs as the ARIA practices have them: arrows move, one tab stop for all. */
function Tabs({ flip: { trans }, alerts, tab, onTab, name }: ISidebarView & { name: string }): JSX.Element {
  useVersion(alerts);
  const place = React.useRef<HTMLDivElement>(null);
  const texts: Record<Tab, string> = {
    runs: trans.__('Runs'),
    nodes: trans.__('Nodes'),
    alerts: trans.__('Alerts')
  };
  const keys = (event: React.KeyboardEvent): void => {
    const by = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (by === 0) return;
    const next = TABS[(TABS.indexOf(tab) + by + TABS.length) % TABS.length];
    onTab(next);
    place.current?.querySelector<HTMLElement>(`[data-tab="${next}"]`)?.focus();
  };
  return (
    <div
      role="tablist"
      className="jp-FlipLab-tabs"
      ref={place}
      onKeyDown={keys}
      aria-label={trans.__('Federated learning')}
    >
      {TABS.map(each => (
        <button
          key={each}
          type="button"
          role="tab"
          id={`${name}-${each}`}
          data-tab={each}
          aria-selected={each === tab}
          aria-controls={`${name}-panel`}
          tabIndex={each === tab ? 0 : -1}
          onClick={() => onTab(each)}
        >
          {texts[each]}
          {each === 'alerts' && alerts.unseen > 0 && (
            <span className="jp-FlipLab-badge" aria-label={trans._n('%1 new alert', '%1 new alerts', alerts.unseen)}>
              {alerts.unseen > 99 ? '99+' : alerts.unseen}
            </span>
          )}
        </button>
      ))}
    </div>
  );
}
