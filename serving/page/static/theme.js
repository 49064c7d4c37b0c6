// Loaded before anything is painted, so that a chosen theme does not flash.
{
  const theme = sessionStorage.getItem("icdtune.theme");
  if (theme) document.documentElement.dataset.theme = theme;
}
