import { useEffect, useState } from 'react';
import { ISettings } from '../tokens';

/** Says whether figures are drawn light or dark, and again when that changes. */
export function useTheme(settings: ISettings): 'light' | 'dark' {
  const now = (): 'light' | 'dark' => {
    if (settings.figureTheme !== 'auto') return settings.figureTheme;
    return document.body.dataset['jpThemeLight'] === 'false' ? 'dark' : 'light';
  };
  const [theme, setTheme] = useState(now);
  useEffect(() => {
    const look = (): void => setTheme(now());
    const observer = new MutationObserver(look); // JupyterLab says it on its body
    observer.observe(document.body, { attributes: true, attributeFilter: ['data-jp-theme-light'] });
    settings.changed.connect(look);
    look();
    return () => {
      observer.disconnect();
      settings.changed.disconnect(look);
    };
  }, [settings]);
  return theme;
}
